//! Runs a piece of work until the clock can tell how long it takes, and prints the cost of one unit.

use std::time::{Duration, Instant};

/// How long one sample takes at least.
const SAMPLE: Duration = Duration::from_millis(40);
/// The median of so many samples is the figure.
const SAMPLES: usize = 7;

pub fn heading(text: &str) {
    println!("\n{text}\n{:<52} {:>12} {:>12}  unit", "row", "median", "best");
}

/// The cost of one unit of `run`, which does `units` of them each time.
pub fn cost(name: &str, unit: &str, units: usize, mut run: impl FnMut()) {
    let mut costs = Vec::new();
    run();
    for _ in 0..SAMPLES {
        let (start, mut runs) = (Instant::now(), 0_u32);
        while start.elapsed() < SAMPLE {
            run();
            runs += 1;
        }
        costs.push(start.elapsed().as_secs_f64() / f64::from(runs) / units as f64);
    }
    print(name, unit, costs);
}

/// The same for work that cannot be repeated as it is: `prepare` runs outside the clock.
pub fn cost_once<T>(
    name: &str,
    unit: &str,
    mut prepare: impl FnMut() -> (T, usize),
    mut run: impl FnMut(T),
) -> f64 {
    let mut costs = Vec::new();
    for _ in 0..SAMPLES {
        let (work, units) = prepare();
        let start = Instant::now();
        run(work);
        costs.push(start.elapsed().as_secs_f64() / units as f64);
    }
    print(name, unit, costs)
}

fn print(name: &str, unit: &str, mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    let (median, best) = (costs[costs.len() / 2], costs[0]);
    println!("{name:<52} {:>12} {:>12}  {unit}", shown(median), shown(best));
    median
}

fn shown(seconds: f64) -> String {
    let nanos = seconds * 1e9;
    if nanos < 10_000.0 { format!("{nanos:.0} ns") } else { format!("{:.1} us", nanos / 1e3) }
}
