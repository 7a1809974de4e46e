//! A stopwatch and a table.

use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(60);

/// Microseconds of one call: the best of several rounds, as whatever else runs on the machine can only
/// make a round longer.
pub fn micros<R>(mut run: impl FnMut() -> R) -> f64 {
    let start = Instant::now();
    let mut calls = 0u32;
    while start.elapsed() < ROUND {
        black_box(run());
        calls += 1;
    }
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..calls {
                black_box(run());
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
        })
        .fold(f64::INFINITY, f64::min)
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
