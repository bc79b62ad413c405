//! Exact folded lines, and what the pictures must hold.

use agenttrace_attribute::cause::Cause;
use agenttrace_attribute::stacks::{
    DiffRow, DiffSide, FrameKind, StackFilter, StackKind, StackRow, StackUnit,
};

use super::*;

fn frame(text: &str, kind: FrameKind) -> FrameText {
    FrameText { text: text.into(), kind }
}

/// Frames by their kinds: `label`, `=entry`, `k:kernel`, `u:user`, `i:inlined`, `j:jit`, and
/// the last of a wall graph `!leaf`.
fn frames(words: &[&str]) -> Vec<FrameText> {
    let kind = |word: &str| match word.split_at_checked(2) {
        Some(("k:", name)) => frame(name, FrameKind::Kernel),
        Some(("u:", name)) => frame(name, FrameKind::User),
        Some(("i:", name)) => frame(name, FrameKind::Inlined),
        Some(("j:", name)) => frame(name, FrameKind::Jit),
        _ => match word.split_at_checked(1) {
            Some(("=", name)) => frame(name, FrameKind::Entry),
            Some(("!", name)) => frame(name, FrameKind::Leaf),
            _ => frame(word, FrameKind::Label),
        },
    };
    words.iter().map(|word| kind(word)).collect()
}

fn graph(kind: StackKind, rows: &[(&[&str], Option<Cause>, u64)]) -> StackGraph {
    let (unit, event) = match kind {
        StackKind::Cpu => (StackUnit::Samples, Some("cpu-clock at 997 Hz".to_owned())),
        StackKind::Faults => (StackUnit::Faults, Some("page-faults".to_owned())),
        StackKind::Wall | StackKind::OffCpu | StackKind::Locks => (StackUnit::Nanos, None),
    };
    let rows: Vec<StackRow> = rows
        .iter()
        .map(|(words, cause, weight)| StackRow {
            frames: frames(words),
            cause: *cause,
            weight: *weight,
        })
        .collect();
    StackGraph {
        kind,
        unit,
        total: rows.iter().map(|r| r.weight).sum(),
        of: "search_codebase, step 142".to_owned(),
        filter: StackFilter::default(),
        event,
        steps: kind == StackKind::Wall,
        rows,
        notes: Vec::new(),
    }
}

fn wall() -> StackGraph {
    let fault = Some(Cause::MajorFault);
    graph(
        StackKind::Wall,
        &[
            (&["search", "step 142", "=wait4", "k:do_wait", "!major_fault: device"], fault, 11_912),
            (&["search", "step 142", "=wait4", "!major_fault: device_queue"], fault, 402),
            (&["search", "step 142", "u:main", "!user_cpu: cpu_user"], Some(Cause::UserCpu), 3_308),
        ],
    )
}

fn cpu() -> StackGraph {
    graph(
        StackKind::Cpu,
        &[
            (&["agent", "u:main", "k:lookup_fast"], None, 300),
            (&["agent", "u:main", "i:hash"], None, 100),
            (&["agent", "j:LazyCompile:~f"], None, 11),
            (&["agent", "!(no stack)"], None, 1),
        ],
    )
}

/// The fill of the frame with this name.
fn fill<'p>(picture: &'p str, title: &str) -> &'p str {
    let at = picture.find(&format!("<title>{title} (")).unwrap_or_else(|| panic!("no {title}"));
    picture[at..].split("fill=\"").nth(1).unwrap().split('"').next().unwrap()
}

#[test]
fn folded_lines_are_sorted_and_hold_the_weights() {
    assert_eq!(
        folded(&wall()),
        "search;step 142;main;user_cpu: cpu_user 3308\n\
         search;step 142;wait4;do_wait;major_fault: device 11912\n\
         search;step 142;wait4;major_fault: device_queue 402\n"
    );
    assert_eq!(
        folded(&cpu()),
        "agent;(no stack) 1\nagent;LazyCompile:~f 11\nagent;main;hash 100\nagent;main;lookup_fast 300\n"
    );
    // A kernel's function and a program's of the same name are one line for other tools.
    let twins = graph(StackKind::Cpu, &[(&["a", "k:read"], None, 2), (&["a", "u:read"], None, 3)]);
    assert_eq!(folded(&twins), "a;read 5\n");
}

/// Names that a trace may hold: each as it comes, and as it stands in a folded line.
const HOSTILE: &[(&str, &str)] = &[
    ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ("\"><svg onload='x()'>", "\"><svg onload='x()'>"),
    ("a;b", "a\\x3bb"),
    ("\x1b[31mred\n\r\t\u{7f}", "\\x1b[31mred\\n\\r\\t\\x7f"),
    ("\u{202e}rtl\u{fffe}\u{ffff}\0", "\\u{202e}rtl\\u{fffe}\\u{ffff}\\x00"),
    ("", "?"),
    // Else the number would be taken for a weight.
    ("operator new 17", "operator new\\x2017"),
    ("v 1.5", "v\\x201.5"),
    ("]]>&amp;<!--", "]]>&amp\\x3b<!--"),
];

#[test]
fn hostile_names_stay_text_in_folded_lines() {
    for (name, want) in HOSTILE {
        let mut one = graph(StackKind::Cpu, &[(&["agent"], None, 7)]);
        one.rows[0].frames.push(frame(name, FrameKind::User));
        assert_eq!(folded(&one), format!("agent;{want} 7\n"));
    }
    let comment = graph(StackKind::Cpu, &[(&["# no comment", "u:main"], None, 7)]);
    assert_eq!(folded(&comment), "\\x23 no comment;main 7\n");
}

#[test]
fn hostile_names_stay_text_in_pictures() {
    let mut all = graph(StackKind::Cpu, &[]);
    for (weight, (name, _)) in (100..).zip(HOSTILE) {
        let frames = vec![frame(name, FrameKind::Label), frame(name, FrameKind::User)];
        all.rows.push(StackRow { frames, cause: None, weight });
    }
    let long = "f".repeat(4096);
    let frames = vec![frame("agent", FrameKind::Label), frame(&long, FrameKind::User)];
    all.rows.push(StackRow { frames, cause: None, weight: 5_000 });
    all.total = all.rows.iter().map(|r| r.weight).sum();
    all.of = "<b>&\x1b".repeat(40);
    all.notes = vec!["a <note> & more".to_owned()];
    let picture = svg(&all).unwrap();
    assert_eq!(picture.matches("<script").count(), 1, "inferno's own alone");
    assert!(picture.contains("&lt;script&gt;alert(1)&lt;/script&gt; (100 samples"));
    assert!(picture.contains("operator new\\x2017 (106 samples"));
    assert!(picture.contains("a &lt;note&gt; &amp; more"));
    assert!(!picture.contains(['\u{202e}', '\x1b', '\0', '\u{fffe}', '\u{ffff}']));
    // Long names are cut in the middle, in tooltips too.
    assert!(picture.contains(&format!("<title>{}...{} (5,000", "f".repeat(127), "f".repeat(126))));
    assert!(picture.len() < 60_000, "{}", picture.len());
    well_formed(&picture);
}

/// Checks that elements nest and that text and attributes hold no markup.
fn well_formed(picture: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = picture;
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        for (place, _) in text.match_indices('&') {
            let entity = text[place + 1..].split(';').next().unwrap();
            assert!(["lt", "gt", "amp", "quot", "apos"].contains(&entity), "&{entity}");
        }
        rest = &rest[at..];
        let skip = |end: &str| rest.find(end).unwrap() + end.len();
        if rest.starts_with("<![CDATA[") {
            rest = &rest[skip("]]>")..];
        } else if rest.starts_with("<!--") {
            rest = &rest[skip("-->")..];
        } else {
            let tag = &rest[1..skip(">") - 1];
            assert!(!tag.contains('<'), "{tag}");
            rest = &rest[tag.len() + 2..];
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') && !tag.starts_with(['?', '!']) {
                open.push(tag.split(' ').next().unwrap());
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn titles_tell_kind_selection_unit_and_total() {
    let title = |graph: &StackGraph| {
        let picture = svg(graph).unwrap();
        let from = picture.find("<text id=\"title\"").unwrap();
        picture[from..].split(['<', '>']).nth(2).unwrap().to_owned()
    };
    assert_eq!(title(&cpu()), "cpu: search_codebase, step 142: 412 samples, cpu-clock at 997 Hz");
    assert_eq!(title(&wall()), "wall: search_codebase, step 142: 15.6 us (widths in ns)");
    let one = graph(StackKind::Faults, &[(&["agent", "u:main"], None, 1)]);
    assert_eq!(title(&one), "faults: search_codebase, step 142: 1 fault, page-faults");
    let long = StackGraph { of: "x".repeat(4096), ..cpu() };
    assert!(title(&long).len() < 110, "{}", title(&long));
}

#[test]
fn a_wall_graph_is_coloured_by_cause_and_its_code_is_pale() {
    let picture = svg(&wall()).unwrap();
    assert!(picture.contains("total_samples=\"15622\""));
    assert!(picture.contains("major_fault: device (11,912 ns, 76.25%)"));
    assert_eq!(fill(&picture, "major_fault: device"), "rgb(242,149,67)");
    assert_eq!(fill(&picture, "user_cpu: cpu_user"), "rgb(147,203,107)");
    // Three quarters and more of the step are faults: their hue, paler.
    assert_eq!(fill(&picture, "step 142"), "rgb(248,202,161)");
    for name in ["page faults", "CPU", "kernel", "user"] {
        assert!(picture.contains(&format!(">{name}</text>")), "{name}");
    }
    for name in ["metadata", "inlined", "no stack"] {
        assert!(!picture.contains(&format!(">{name}</text>")), "{name}");
    }
    assert_eq!(picture, svg(&wall()).unwrap());
}

#[test]
fn kinds_of_code_have_colours_of_their_own() {
    // A system call, a program's function, and one of the kernel, all of one name.
    let mut graph = cpu();
    graph.rows.push(StackRow {
        frames: frames(&["read", "u:read", "k:read"]),
        cause: None,
        weight: 90,
    });
    let picture = svg(&graph).unwrap();
    let mut fills: Vec<&str> = picture
        .match_indices("<title>read (")
        .map(|(at, _)| picture[at..].split("fill=\"").nth(1).unwrap().split('"').next().unwrap())
        .collect();
    fills.sort_unstable();
    fills.dedup();
    assert_eq!(fills.len(), 3, "{fills:?}");
    for name in ["kernel", "user", "inlined", "jit", "no stack"] {
        assert!(picture.contains(&format!(">{name}</text>")), "{name}");
    }
    assert!(!picture.contains("_["), "inferno takes the marks off");
}

#[test]
fn own_weight_and_callees_make_one_frame() {
    // Sorted as lines are, `a b` would come between `a` and `a;c`.
    let rows: &[(&[&str], Option<Cause>, u64)] =
        &[(&["t", "u:a"], None, 10), (&["t", "u:a b"], None, 10), (&["t", "u:a", "u:c"], None, 10)];
    let picture = svg(&graph(StackKind::Cpu, rows)).unwrap();
    assert!(picture.contains("<title>a (20 samples, 66.67%)</title>"), "{picture}");
    assert!(picture.contains("<title>c (10 samples, 33.33%)</title>"));
    assert!(picture.contains("<title>a b (10 samples, 33.33%)</title>"));
}

#[test]
fn what_is_too_narrow_to_see_keeps_its_weight_in_its_caller() {
    let rows: &[(&[&str], Option<Cause>, u64)] = &[
        (&["t", "u:wide"], None, 99_936),
        (&["t", "u:wide", "u:narrow", "u:narrower"], None, 41),
        (&["t", "u:wide", "u:enough"], None, 42),
    ];
    let picture = svg(&graph(StackKind::Cpu, rows)).unwrap();
    assert!(picture.contains("total_samples=\"100019\""));
    assert!(picture.contains("<title>wide (100,019 samples, 100.00%)</title>"));
    assert!(picture.contains("<title>enough (42 samples, 0.04%)</title>"));
    assert!(!picture.contains("narrow"));
}

#[test]
fn many_steps_stay_readable() {
    let mut many = wall();
    many.rows = (0..100_u64)
        .map(|step| StackRow {
            frames: frames(&["search", &format!("step {step}"), "u:main", "!user_cpu: cpu_user"]),
            cause: Some(Cause::UserCpu),
            weight: 1_000 + step,
        })
        .collect();
    many.total = many.rows.iter().map(|row| row.weight).sum();
    let picture = svg(&many).unwrap();
    // The 20 longest weigh 1080 to 1099, the others 1000 to 1079.
    assert!(picture.contains("<title>80 shorter steps (83,160 ns"));
    assert!(picture.contains("total_samples=\"104950\""));
    assert_eq!(picture.matches("<title>step ").count(), 20);
}

#[test]
fn a_deep_graph_hangs_from_the_top() {
    let deep = |depth: usize| {
        let mut one = graph(StackKind::Cpu, &[(&["agent"], None, 7)]);
        one.rows[0].frames.extend((1..depth).map(|i| frame(&format!("f{i}"), FrameKind::User)));
        svg(&one).unwrap()
    };
    assert!(deep(48).contains("var inverted = false;"));
    assert!(deep(49).contains("var inverted = true;"));
}

#[test]
fn the_longest_legend_fits() {
    let families = [
        Cause::RunDelay,
        Cause::Fsync,
        Cause::MajorFault,
        Cause::Reclaim,
        Cause::Spawn,
        Cause::VfsMetadata,
        Cause::BlockRead,
        Cause::IpcWait,
        Cause::UserCpu,
        Cause::Unknown,
    ];
    let words: &[&str] = &["t", "s", "k:a", "u:b", "i:c", "j:d", "!leaf"];
    let rows: Vec<_> = families.iter().map(|cause| (words, Some(*cause), 5)).collect();
    let picture = svg(&graph(StackKind::Wall, &rows)).unwrap();
    let last = picture.find(">jit</text>").unwrap();
    let x: usize =
        picture[..last].rsplit("x=\"").next().unwrap().split('"').next().unwrap().parse().unwrap();
    assert_eq!(picture.matches("width=\"12\"").count(), 14);
    assert!(x + 3 * 8 < 1_190, "{x}");
}

#[test]
fn nothing_is_no_error() {
    assert_eq!(folded(&graph(StackKind::Cpu, &[])), "");
    let picture = svg(&graph(StackKind::Cpu, &[])).unwrap();
    assert!(picture.contains("holds nothing"));
    well_formed(&picture);
}

fn difference() -> StackDiff {
    let row = |words: &[&str], here, other, scaled| DiffRow {
        frames: frames(words),
        cause: None,
        here,
        other,
        scaled,
    };
    let side = |of: &str, total| DiffSide { of: of.to_owned(), total, event: None };
    StackDiff {
        kind: StackKind::Cpu,
        unit: StackUnit::Samples,
        here: side("search, step 142", 100),
        other: side("search, step 143", 50),
        rows: vec![
            row(&["agent", "u:gone"], 0, 10, 20),
            row(&["agent", "u:less"], 40, 30, 60),
            row(&["agent", "u:more"], 50, 5, 10),
            row(&["agent", "u:same"], 10, 5, 10),
        ],
        only_other: 10,
        notes: Vec::new(),
    }
}

#[test]
fn differences_have_both_weights_and_two_hues() {
    assert_eq!(
        folded_diff(&difference()),
        "agent;gone 10 0\nagent;less 30 40\nagent;more 5 50\nagent;same 5 10\n"
    );
    let picture = svg_diff(&difference()).unwrap();
    let title = "cpu: search, step 142 (100 samples) against search, step 143 (50 samples)";
    assert!(picture.contains(title));
    assert!(picture.contains("20.0 % of the other is in stacks that are not here"));
    // 50 against 10, 40 against 60: of 100.
    assert!(picture.contains("<title>more (50 samples, 50.00%; +40.00%)</title>"));
    assert!(picture.contains("<title>less (40 samples, 40.00%; -20.00%)</title>"));
    assert!(picture.contains("<title>same (10 samples, 10.00%; 0.00%)</title>"));
    assert!(!picture.contains("<title>gone"));
    assert_eq!(fill(&picture, "more"), "rgb(255,100,100)");
    assert_eq!(fill(&picture, "less"), "rgb(175,175,255)");
    assert_eq!(fill(&picture, "same"), "rgb(250,250,250)");
    well_formed(&picture);
}
