//! Steps, segments, operations and wakeups to markers, with the schema of each kind.

use std::collections::HashMap;
use std::sync::Arc;

use agenttrace_attribute::detail::Words;
use agenttrace_attribute::report::{Segment, StepReport};
use agenttrace_model::{Model, Op, OpKind};
use fxprof_processed_profile::{
    CategoryHandle, MarkerFieldFlags, MarkerFieldFormat, MarkerLocations, Profile, StackHandle,
    StaticSchemaMarker, StaticSchemaMarkerField, StringHandle, ThreadHandle,
};

use super::Categories;
use super::code::label;
use crate::duration::human;
use crate::escape::visible;
use crate::export::words;

/// A field whose text can be searched for.
const fn text(key: &'static str, label: &'static str) -> StaticSchemaMarkerField {
    let format = MarkerFieldFormat::String;
    StaticSchemaMarkerField { key, label, format, flags: MarkerFieldFlags::SEARCHABLE }
}

/// Declares a kind of marker, all of whose fields are texts.
macro_rules! marker {
    ($(#[$doc:meta])* $name:ident, $type:literal, $locations:expr, chart $chart:literal,
     table $table:literal, $($key:literal: $label:literal),+) => {
        $(#[$doc])*
        pub(super) struct $name {
            name: StringHandle,
            category: CategoryHandle,
            fields: Vec<StringHandle>,
        }

        impl StaticSchemaMarker for $name {
            const UNIQUE_MARKER_TYPE_NAME: &'static str = $type;
            const LOCATIONS: MarkerLocations = $locations;
            const CHART_LABEL: Option<&'static str> = Some($chart);
            const TABLE_LABEL: Option<&'static str> = Some($table);
            const TOOLTIP_LABEL: Option<&'static str> = Some($table);
            const FIELDS: &'static [StaticSchemaMarkerField] = &[$(text($key, $label)),+];

            fn name(&self, _: &mut Profile) -> StringHandle {
                self.name
            }
            fn category(&self, _: &mut Profile) -> CategoryHandle {
                self.category
            }
            fn string_field_value(&self, field: u32) -> StringHandle {
                self.fields.get(field as usize).copied().unwrap_or(self.name)
            }
            fn number_field_value(&self, _: u32) -> f64 {
                // No field is a number.
                0.0
            }
        }
    };
}

const SHOWN: MarkerLocations = MarkerLocations::MARKER_CHART.union(MarkerLocations::MARKER_TABLE);

marker!(
    /// A step, on its root task.
    StepMarker, "agenttrace step", SHOWN.union(MarkerLocations::TIMELINE_OVERVIEW),
    chart "{marker.data.step}", table "{marker.data.step}: {marker.data.verdict}",
    "step": "Step", "wall": "Wall time", "causes": "Causes", "verdict": "Verdict",
    "confidence": "Confidence", "more": "More"
);

impl StepMarker {
    pub(super) fn new(step: &StepReport, category: CategoryHandle, profile: &mut Profile) -> Self {
        let verdict = step.verdicts.first();
        let mut more: Vec<String> = step.clipped.iter().map(|clipped| visible(clipped)).collect();
        more.extend(step.parent.iter().map(|id| format!("in step {}", visible(&id.to_string()))));
        more.extend(step.extra.iter().map(|(key, json)| visible(&format!("{key}: {json}"))));
        let fields = [
            words::step(step),
            human(step.wall),
            words::causes(step),
            verdict.map(|v| visible(&v.title)).unwrap_or_default(),
            verdict.map(|v| v.confidence.name().to_owned()).unwrap_or_default(),
            more.join("; "),
        ];
        let fields = fields.iter().map(|text| profile.intern_string(text)).collect();
        Self { name: profile.intern_string("step"), category, fields }
    }
}

marker!(
    /// A stretch of a step's critical path, on the step's root task.
    PathMarker, "agenttrace critical path", SHOWN,
    chart "{marker.data.stack}", table "{marker.data.resource}: {marker.data.stack}",
    "step": "Step", "resource": "Resource", "stack": "On behalf of", "task": "Task",
    "more": "More"
);

/// What is the same for many segments of a step.
pub(super) type Known = HashMap<(Arc<[Words]>, String), (StringHandle, Option<StackHandle>)>;

impl PathMarker {
    /// The marker, and what the time was spent on behalf of, as its stack.
    pub(super) fn new(
        step: &StepReport,
        segment: &Segment<'_>,
        categories: Categories,
        thread: ThreadHandle,
        known: &mut Known,
        profile: &mut Profile,
    ) -> (Self, Option<StackHandle>) {
        let leaf = words::leaf(segment);
        let (stack, frames) =
            *known.entry((Arc::clone(&segment.stack), leaf)).or_insert_with_key(|(stack, leaf)| {
                let frames: Vec<_> = stack
                    .iter()
                    .map(AsRef::as_ref)
                    .chain(std::iter::once(leaf.as_str()))
                    .map(|frame| label(profile, &visible(frame), categories.entry))
                    .collect();
                let frames = profile.intern_stack_frames(thread, frames.into_iter());
                (profile.intern_string(&words::stack(segment)), frames)
            });
        let mut more: Vec<String> = segment.object.iter().map(|object| visible(object)).collect();
        more.extend(segment.reason.iter().map(|reason| visible(reason)));
        if segment.inferred {
            more.push("inferred".to_owned());
        }
        let task = format!("{} ({})", visible(&segment.comm), segment.tid);
        let fields = vec![
            profile.intern_string(&words::step(step)),
            profile.intern_string(&words::resource(segment)),
            stack,
            profile.intern_string(&task),
            profile.intern_string(&more.join("; ")),
        ];
        let name = profile.intern_string(segment.cause.name());
        (Self { name, category: categories.path, fields }, frames)
    }
}

marker!(
    /// A system call, a fault, a wait for a lock, an interrupt.
    OpMarker, "agenttrace operation", SHOWN,
    chart "{marker.data.what}", table "{marker.data.what} {marker.data.result}",
    "what": "What", "result": "Result"
);

impl OpMarker {
    pub(super) fn new(
        model: &Model,
        op: &Op,
        category: CategoryHandle,
        profile: &mut Profile,
    ) -> Self {
        let result = match op.kind {
            OpKind::Syscall(call) => call.ret.map_or("not over".to_owned(), |ret| ret.to_string()),
            OpKind::Fault(fault) => format!("at {:#x}", fault.address.0),
            OpKind::Lock { .. }
            | OpKind::Irq(_)
            | OpKind::Softirq(_)
            | OpKind::LocalTimer
            | OpKind::Work(_)
            | OpKind::Commit { .. }
            | OpKind::SyncFile { .. }
            | OpKind::Exit
            | OpKind::DirtyPause(_)
            | OpKind::TlbWait(_) => String::new(),
            OpKind::Reclaim(reclaim) => {
                reclaim.pages.map_or_else(String::new, |pages| format!("{pages} pages"))
            }
        };
        let fields = [words::op(model, op), result];
        let fields = fields.iter().map(|text| profile.intern_string(text)).collect();
        Self { name: profile.intern_string(words::op_group(&op.kind)), category, fields }
    }
}

marker!(
    /// A wakeup, on the task that was woken.
    WakeMarker, "agenttrace wakeup", SHOWN,
    chart "{marker.data.by}", table "by {marker.data.by}",
    "by": "By", "kind": "Kind"
);

impl WakeMarker {
    pub(super) fn new(
        by: &str,
        by_task: bool,
        category: CategoryHandle,
        profile: &mut Profile,
    ) -> Self {
        let kind = if by_task { "a task" } else { "an interrupt" };
        let fields = vec![profile.intern_string(by), profile.intern_string(kind)];
        Self { name: profile.intern_string("woken"), category, fields }
    }
}
