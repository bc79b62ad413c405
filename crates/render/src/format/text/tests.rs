//! Exact text of a hand-made report.
use super::*;
use crate::fixture;

#[test]
fn show() {
    let r = fixture::report();
    for width in [80, 100, 120] {
        let s = Style { width, ..Style::default() };
        println!("{}", "-".repeat(width));
        println!("{}", session(&r, &s, Some("out/report.md")));
        println!("{}", step(&r, &r.steps[0], &s));
        println!("{}", step(&r, &r.steps[1], &s));
    }
}
