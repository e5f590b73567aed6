//! The table: a line a row, each column the median of its rounds.

use super::super::Measured;
use super::server::Counts;

/// What one round of a row came to, column by column; what a row does not have is not a number.
pub struct Round {
    columns: [f64; COLUMNS.len()],
}

struct Column {
    name: &'static str,
    width: usize,
    digits: usize,
}

const fn column(name: &'static str, width: usize, digits: usize) -> Column {
    Column { name, width, digits }
}

const RATIO: usize = 1;

const COLUMNS: [Column; 10] = [
    column("req/s", 8, 0),
    column("ratio", 6, 3),
    column("p50 ms", 7, 2),
    column("p99 ms", 7, 2),
    column("p99.9", 7, 2),
    column("cpu s/1k", 8, 4),
    column("server", 7, 2),
    column("client", 7, 2),
    column("rec/sync", 8, 1),
    column("B/sync", 8, 0),
];

impl Round {
    /// `around` is plaintext, measured before and after it.
    pub fn new(measured: &Measured, around: &[&Measured], synced: Option<&Counts>) -> Self {
        let figures = &measured.figures;
        let rate = figures.per_second();
        let bases = around.iter().map(|base| base.figures.per_second());
        let base = bases.sum::<f64>() / around.len() as f64;
        let per_sync = |count: fn(&Counts) -> u64| {
            let synced = synced.filter(|counts| 0 < counts.syncs);
            synced.map_or(f64::NAN, |counts| count(counts) as f64 / counts.syncs as f64)
        };
        let columns = [
            rate,
            rate / base,
            figures.percentile_ms(0.50),
            figures.percentile_ms(0.99),
            figures.percentile_ms(0.999),
            measured.server_s * 1000.0 / figures.answers.max(1) as f64,
            measured.server_s / figures.seconds,
            measured.client_s / figures.seconds,
            per_sync(|counts| counts.records),
            per_sync(|counts| counts.bytes),
        ];
        Self { columns }
    }
}

/// Prints what the columns are called.
pub fn head() {
    let names = COLUMNS.iter().map(|column| format!(" {:>1$}", column.name, column.width));
    println!("{:<32}{}  ratios", "row", names.collect::<String>());
}

/// Prints a row, the least and the greatest ratio of its rounds, and answers that were not expected.
pub fn row(name: &str, rounds: &[Round], unexpected: &str) {
    let cells = COLUMNS.iter().enumerate().map(|(i, column)| {
        let (width, digits) = (column.width, column.digits);
        match median(rounds, i) {
            value if value.is_nan() => format!(" {:>width$}", "-"),
            value => format!(" {value:>width$.digits$}"),
        }
    });
    let ratios = rounds.iter().map(|round| round.columns[RATIO]);
    let (least, most) = ratios
        .fold((f64::MAX, 0.0_f64), |(least, most), ratio| (least.min(ratio), most.max(ratio)));
    let ratios = if rounds.len() < 2 { String::new() } else { format!("  {least:.3}..{most:.3}") };
    println!("{name:<32}{}{ratios}{unexpected}", cells.collect::<String>());
}

fn median(rounds: &[Round], column: usize) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(|round| round.columns[column]).collect();
    values.sort_by(f64::total_cmp);
    let (lower, upper) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    f64::midpoint(lower, upper)
}
