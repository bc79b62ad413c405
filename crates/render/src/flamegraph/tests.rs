//! Exact folded lines, and what the pictures must hold.

use agenttrace_model::parse::Nanos;

use super::*;
use crate::fixture;

fn total(folded: &str) -> u64 {
    folded.lines().map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn a_step_is_as_wide_as_it_lasted() {
    let report = fixture::report();
    let folded = folded(&report, Selection::Step(&report.steps[0]));
    let search = "search_codebase;step 142;wait4;search;major fault vector_index.db";
    assert_eq!(
        folded,
        format!(
            "search_codebase;step 142;openat;vfs_metadata: cpu_kernel 2104000\n\
             search_codebase;step 142;user_cpu: cpu_user 3308321\n\
             {search};block read vda;major_fault: completion 377000\n\
             {search};block read vda;major_fault: device 11912000\n\
             {search};block read vda;major_fault: device_queue 402000\n\
             {search};major_fault: cpu_kernel 1811000\n\
             {search};run_delay: run_queue in major_fault 300000\n"
        )
    );
    assert_eq!(total(&folded), report.steps[0].wall.0);
}

#[test]
fn the_session_counts_each_nanosecond_once() {
    let mut report = fixture::report();
    let mut inner = fixture::fault_step();
    let (from, to) = (inner.start + Nanos(1_000_000), inner.start + Nanos(3_000_000));
    inner.id = agenttrace_model::parse::StepId::Number(143);
    inner.parent = Some(report.steps[0].id.clone());
    inner.segments = vec![fixture::segment(from.0, to.0, Cause::Sleep, Resource::Timer, &[])];
    (inner.start, inner.end, inner.wall) = (from, to, Nanos(2_000_000));
    report.steps.push(inner);
    let text = folded(&report, Selection::Session);
    assert_eq!(total(&text), 20_214_321 + 4_000_000);
    assert!(text.contains("search_codebase;step 143;sleep: timer 2000000\n"), "{text}");
    // 1,000,000 before the nested step, nothing after it, of 2,104,000.
    assert!(text.contains("step 142;openat;vfs_metadata: cpu_kernel 1000000\n"), "{text}");
    assert!(text.contains("major_fault: device 11016000\n"), "{text}");
}

#[test]
fn names_from_the_trace_stay_text() {
    let report = fixture::report();
    let text = folded(&report, Selection::Step(&report.steps[1]));
    assert_eq!(
        text,
        "evil\\x3b\\u{202e}tool\\n<script>alert(1)</script>;step a|<script>\\x1b[31m;\
         </svg>\\x3bx;user_cpu: cpu_user 4000000\n"
    );
    let picture = svg(&report, Selection::Session).unwrap();
    assert_eq!(picture.matches("<script").count(), 1, "inferno's own alone");
    assert!(picture.contains("&lt;script&gt;alert(1)"));
    assert!(!picture.contains('\u{202e}') && !picture.contains('\x1b'));
}

#[test]
fn the_picture_tells_causes_and_totals() {
    let report = fixture::report();
    let picture = svg(&report, Selection::Step(&report.steps[0])).unwrap();
    assert!(picture.contains("search_codebase, step 142: 20.2 ms of wall time (widths in ns)"));
    assert!(picture.contains("total_samples=\"20214321\""));
    assert!(picture.contains("major_fault: device (11,912,000 ns, 58.93%)"));
    let leaf = picture.find("<title>major_fault: device (").unwrap();
    assert!(picture[leaf..].split("fill=\"").nth(1).unwrap().starts_with("rgb(242,149,67)"));
    for name in ["page faults", "CPU", "metadata", "run delay"] {
        assert!(picture.contains(&format!(">{name}</text>")), "{name}");
    }
    assert_eq!(picture, svg(&report, Selection::Step(&report.steps[0])).unwrap());
}

#[test]
fn no_time_is_no_error() {
    let report = Report { steps: Vec::new(), ..fixture::report() };
    assert_eq!(folded(&report, Selection::Session), "");
    assert!(svg(&report, Selection::Session).unwrap().contains("no time"));
}

#[test]
fn many_steps_stay_readable() {
    let mut report = fixture::report();
    for i in 0..100 {
        let mut one = fixture::fault_step();
        one.id = agenttrace_model::parse::StepId::Number(1_000 + i);
        let later = Nanos(1_000_000_000 * (i + 1));
        (one.start, one.end) = (one.start + later, one.end + later);
        for segment in &mut one.segments {
            (segment.start, segment.end) = (segment.start + later, segment.end + later);
        }
        report.steps.push(one);
    }
    let all = total(&folded(&report, Selection::Session));
    assert_eq!(all, 101 * 20_214_321 + 4_000_000);
    let picture = svg(&report, Selection::Session).unwrap();
    assert!(picture.contains("81 shorter steps ("));
    assert!(picture.contains(&format!("total_samples=\"{all}\"")));
    assert_eq!(picture.matches("<title>step ").count(), 20);
}
