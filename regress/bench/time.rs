//! A stopwatch and a table.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long one measurement goes on.
const SPAN: Duration = Duration::from_millis(600);
/// Shorter calls are taken several at a time, so that the clock's own cost does not show.
const BATCH: Duration = Duration::from_micros(40);

/// Microseconds of one call: the best of many, as whatever else runs on the machine can only make a call
/// longer.
pub fn micros<R>(mut run: impl FnMut() -> R) -> f64 {
    let mut watch = Watch::new(&mut run);
    let start = Instant::now();
    while start.elapsed() < SPAN {
        watch.sample(&mut run);
    }
    watch.best
}

/// The same for two things to be compared: they take turns, so that they meet the same weather.
pub fn in_turn<R, S>(mut a: impl FnMut() -> R, mut b: impl FnMut() -> S) -> (f64, f64) {
    let (mut watch_a, mut watch_b) = (Watch::new(&mut a), Watch::new(&mut b));
    let start = Instant::now();
    while start.elapsed() < 3 * SPAN {
        watch_a.sample(&mut a);
        watch_b.sample(&mut b);
    }
    (watch_a.best, watch_b.best)
}

struct Watch {
    calls: u32,
    best: f64,
}

impl Watch {
    fn new<R>(run: &mut impl FnMut() -> R) -> Self {
        let (start, mut calls) = (Instant::now(), 0);
        while start.elapsed() < BATCH {
            black_box(run());
            calls += 1;
        }
        Self { calls, best: f64::INFINITY }
    }

    fn sample<R>(&mut self, run: &mut impl FnMut() -> R) {
        let start = Instant::now();
        for _ in 0..self.calls {
            black_box(run());
        }
        let one = start.elapsed().as_secs_f64() * 1e6 / f64::from(self.calls);
        self.best = self.best.min(one);
    }
}

/// Prints the head of a table: what is measured, then the columns.
pub fn head(title: &str, columns: &[&str]) {
    print!("\n{title:<64}");
    columns.iter().for_each(|column| print!("{column:>12}"));
    println!();
}

/// Prints one row; what was not measured is a dash.
pub fn row(name: &str, values: &[Option<f64>]) {
    print!("{name:<64}");
    for value in values {
        match value {
            Some(value) => print!("{value:>12.2}"),
            None => print!("{:>12}", "-"),
        }
    }
    println!();
}
