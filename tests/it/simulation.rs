//! Some hundred seeds of the simulation; `cargo bench --bench simulate` runs as many as asked for.

use crate::support::simulation::campaign::campaign;
use crate::support::simulation::odds::Tally;
use crate::support::simulation::run;

const SEEDS: u64 = 240;
const PARTS: u64 = 4;

#[test]
fn whatever_happens_in_whatever_order_every_promise_is_kept() {
    let part = SEEDS / PARTS;
    let parts: Vec<_> =
        (0..PARTS).map(|i| std::thread::spawn(move || campaign(i * part, part, || true))).collect();
    let mut total = Tally::default();
    for part in parts {
        let (_, tally) = part.join().unwrap().unwrap_or_else(|story| panic!("{story}"));
        total += tally;
    }
    // Otherwise it would be no wonder.
    let happened = [
        total.retries,
        total.reuses,
        total.lost_answers,
        total.turned_away,
        total.lost_appends,
        total.kept_appends,
        total.crashes,
        total.clean_stops,
        total.clock_steps,
    ];
    assert!(happened.iter().all(|times| 20 < *times), "{total:?}");
}

#[test]
fn the_same_seed_takes_the_same_course_to_the_byte() {
    let (first, second) = (run(7, None), run(7, None));
    assert_eq!(first, second);
    assert_ne!(first.1, run(8, None).1);
}
