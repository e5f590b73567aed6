//! One table of all rounds, and the sentence at its end.

use std::collections::BTreeMap;

use crate::clients::Tally;

#[derive(Debug, Default, Clone)]
struct Row {
    rounds: u64,
    acknowledged: u64,
    lost: u64,
    forked: u64,
    failed: u64,
}

#[derive(Default)]
pub struct Report {
    rows: BTreeMap<String, Row>,
    /// The first of what went wrong.
    examples: Vec<String>,
    passed: u64,
    failed: u64,
    is_loud: bool,
}

const EXAMPLES_MAX: usize = 40;
const WRONGS_A_ROUND_MAX: usize = 4;

impl Report {
    pub fn new(is_loud: bool) -> Self {
        Self { is_loud, ..Self::default() }
    }

    /// Counts a round; `failed` is what went wrong as a whole.
    pub fn round(&mut self, name: &str, tally: Tally, failed: Option<String>) {
        let row = self.rows.entry(name.to_owned()).or_default();
        row.rounds += 1;
        row.acknowledged += tally.acknowledged;
        row.lost += tally.lost;
        row.forked += tally.forked;
        row.failed += u64::from(failed.is_some());
        let is_well = failed.is_none() && tally.wrong.is_empty();
        if is_well {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        if self.is_loud {
            println!("{} {name}", if is_well { "ok    " } else { "FAILED" });
        }
        for wrong in failed.into_iter().chain(tally.wrong).take(WRONGS_A_ROUND_MAX) {
            self.example(format!("{name}: {wrong}"));
        }
    }

    /// What was answered that never should be.
    pub fn wrong(&mut self, wrong: Vec<String>) {
        self.failed += wrong.len() as u64;
        wrong.into_iter().for_each(|wrong| self.example(wrong));
    }

    fn example(&mut self, text: String) {
        if self.is_loud {
            println!("       {text}");
        }
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text);
        }
    }

    /// Lines that are of use only to who looks closely.
    pub fn remark(&self, lines: &[String]) {
        for line in lines.iter().filter(|_| self.is_loud) {
            println!("       {line}");
        }
    }

    /// A figure.
    pub fn figure(&self, text: &str) {
        println!("{text}");
    }

    /// A part that does not run here, and why.
    pub fn skipped(&self, what: &str, why: &str) {
        println!("skipped: {what} ({why})");
    }

    /// Prints the table; whether all went well.
    pub fn close(&self) -> bool {
        println!(
            "{:<40} {:>7} {:>9} {:>6} {:>7} {:>7}",
            "what", "rounds", "promises", "lost", "forked", "failed"
        );
        for (name, row) in &self.rows {
            println!(
                "{name:<40} {:>7} {:>9} {:>6} {:>7} {:>7}",
                row.rounds, row.acknowledged, row.lost, row.forked, row.failed
            );
        }
        for example in &self.examples {
            println!("! {example}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0
    }
}
