//! Order, losses and bad lines over texts of many chunks.

use super::{TRACE, read, refusal};
use crate::Problem;

/// Lines at these times, on alternating CPUs, long enough for several chunks.
fn lines(times: impl Iterator<Item = u64>) -> String {
    let line = |(n, t): (usize, u64)| {
        format!(
            "            work-7{}      [00{}] .....  {}.{:06}: sys_exit: NR 1 = {n}\n",
            n % 2,
            n % 2,
            t / 1_000_000,
            t % 1_000_000
        )
    };
    times.enumerate().map(line).collect()
}

fn times(read: &super::Read) -> Vec<u64> {
    let time = |event: &String| event.split(' ').next().unwrap().parse::<u64>().unwrap() / 1000;
    read.events.iter().map(time).filter(|t| *t > 0).collect()
}

#[test]
fn files_one_after_the_other_are_merged() {
    // Two buffers of 60,000 lines each (8 MB in all), over the same stretch of time.
    let one = (0..60_000_u64).map(|n| 1_000_000 + 2 * n);
    let two = (0..60_000_u64).map(|n| 1_000_001 + 2 * n);
    let read = read(lines(one.chain(two)).as_bytes()).unwrap();
    assert_eq!(times(&read), (1_000_000..1_120_000).collect::<Vec<_>>());
    assert_eq!(read.totals.inversions, 2);
    assert_eq!(read.diagnostics.count(Problem::OutOfOrder), 0);
}

#[test]
fn nearly_ordered_lines_are_put_in_order() {
    // Each hundred backwards.
    let times_in_file = (0..120_000_u64).map(|n| 1_000_000 + n / 100 * 100 + (99 - n % 100));
    let read = read(lines(times_in_file).as_bytes()).unwrap();
    assert_eq!(times(&read), (1_000_000..1_120_000).collect::<Vec<_>>());
}

#[test]
fn the_same_at_any_number_of_threads() {
    let text = lines((0..120_000_u64).map(|n| (1_000_000 + n) ^ 5));
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| read(text.as_bytes()).unwrap())
    };
    let (one, three) = (with(1), with(3));
    assert_eq!(one.events, three.events);
    assert_eq!((one.totals, one.diagnostics), (three.totals, three.diagnostics));
}

#[test]
fn a_few_bad_lines_are_shown_and_many_are_an_error() {
    let good = lines((0..57_u64).map(|n| 1_000_000 + n));
    let bad = "what is this\n            work-70      [000] .....  1.000001: sys_exit: NR x\n";
    let read = read(format!("{good}{bad}").as_bytes()).unwrap();
    assert_eq!((read.totals.records, read.totals.events), (59, 57));
    assert_eq!(read.diagnostics.count(Problem::BadLine), 2);
    let examples = read.diagnostics.examples();
    assert_eq!(
        examples[0],
        (
            59,
            "the event's fields are not as they should be:             \
             work-70      [000] .....  1.000001: sys_exit: NR x"
                .to_owned()
        )
    );
    assert_eq!(
        examples[1],
        (58, "no event, and no other line that is known: what is this".to_owned())
    );
    // Three of 60 are 5 %, three of 59 are more.
    let three = format!("{good}{bad}no\x1b line\n");
    assert_eq!(refusal(&three), "read");
    let fewer = three.split_once('\n').unwrap().1;
    let said = refusal(fewer);
    assert!(said.starts_with("line 58: the event's fields"), "{said}");
    assert!(said.contains("3 of 59 lines cannot be read"), "{said}");
}

#[test]
fn line_ends_of_other_systems_and_none_at_the_end() {
    let plain = read(TRACE.as_bytes()).unwrap();
    let dos = read(TRACE.replace('\n', "\r\n").as_bytes()).unwrap();
    assert_eq!(plain.events, dos.events);
    let without = read(TRACE.trim_end().as_bytes()).unwrap();
    assert_eq!(plain.events, without.events);
}
