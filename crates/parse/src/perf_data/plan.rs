//! Attributes and formats to decoding plans: what to do with a sample, decided once.

use rustc_hash::FxHashMap;

use super::attrs::{Attr, SW_DUMMY, TYPE_SOFTWARE, TYPE_TRACEPOINT, flag};
use super::header::{Head, feature};
use super::layout::SampleLayout;
use super::tracing_data;
use crate::capture::{CaptureInfo, EventType};
use crate::cursor::Cursor;
use crate::error::Error;
use crate::format::{self, Format};
use crate::tracepoint::{Around, Tracepoint};

/// What to do with the samples of one attribute.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) layout: SampleLayout,
    /// Index in [`CaptureInfo::event_types`]; `None` for the dummy event.
    pub(crate) event_type: Option<usize>,
    pub(crate) action: Action,
}

/// How a sample becomes an event.
#[derive(Debug)]
pub(crate) enum Action {
    /// By its raw data.
    Tracepoint(Tracepoint),
    /// `software:minor-faults`, counted by the sample's address and period.
    MinorFault,
    /// `software:major-faults`.
    MajorFault,
    /// The analysis does not use it.
    Unknown,
}

/// Software events by their number (`enum perf_sw_ids`).
const SOFTWARE: [&str; 12] = [
    "cpu-clock",
    "task-clock",
    "page-faults",
    "context-switches",
    "cpu-migrations",
    "minor-faults",
    "major-faults",
    "alignment-faults",
    "emulation-faults",
    "dummy",
    "bpf-output",
    "cgroup-switches",
];
const SW_MINOR_FAULTS: u64 = 5;
const SW_MAJOR_FAULTS: u64 = 6;

/// The formats of a capture's tracepoints, by id.
pub(crate) type FormatsById<'f> = FxHashMap<u64, (&'f str, Format<'f>)>;

/// From subsystems and `format` texts.
pub(crate) fn formats_by_id<'f>(
    texts: impl Iterator<Item = (&'f str, &'f str)>,
) -> FormatsById<'f> {
    texts.filter_map(|(system, text)| format::parse(text).map(|f| (f.id, (system, f)))).collect()
}

/// Those that the capture holds itself.
pub(crate) fn formats<'f>(head: &Head<'f>) -> FormatsById<'f> {
    let tracing = head.feature(feature::TRACING_DATA).and_then(tracing_data::parse);
    formats_by_id(tracing.unwrap_or_default().formats.into_iter())
}

/// The same as texts, to be used for another capture.
///
/// # Errors
/// Where the file is no perf.data, or holds no formats.
pub(crate) fn format_texts(bytes: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let head = Head::parse(bytes)?;
    let tracing = head.feature(feature::TRACING_DATA).and_then(tracing_data::parse);
    let tracing = tracing.filter(|t| !t.formats.is_empty()).ok_or_else(|| Error::Unsupported {
        what: "this capture holds no formats of tracepoints; record a finished one of the same \
               events, in the same boot"
            .to_owned(),
    })?;
    Ok(tracing.formats.iter().map(|(s, t)| ((*s).to_owned(), (*t).to_owned())).collect())
}

/// A plan for each attribute; adds the event types to `info`.
pub(crate) fn compile(
    head: &Head<'_>,
    formats: &FormatsById<'_>,
    info: &mut CaptureInfo,
) -> Vec<Plan> {
    let attrs = &head.attrs;
    let described = head.cursor(feature::EVENT_DESC).and_then(names).unwrap_or_default();
    let raw_syscalls = formats.values().any(|(system, f)| {
        *system == "raw_syscalls"
            && f.name == "sys_enter"
            && attrs.iter().any(|a| a.kind == TYPE_TRACEPOINT && a.config == f.id)
    });
    let mut plans = Vec::new();
    let mut types = Types::default();
    for (index, attr) in attrs.iter().enumerate() {
        let format = formats.get(&attr.config).filter(|_| attr.kind == TYPE_TRACEPOINT);
        let updated = || {
            let (_, name) = head.names.iter().find(|(id, _)| attr.ids.contains(id))?;
            std::str::from_utf8(name).ok()
        };
        let described = described.get(index).map(String::as_str).or_else(updated);
        let name = match format {
            Some((system, format)) => format!("{system}:{}", format.name),
            None => plain_name(attr, described),
        };
        let around = Around { raw_syscalls, os_release: info.os_release.as_deref() };
        let action = action(attr, &name, format.map(|(_, f)| f), around);
        let known = !matches!(action, Action::Unknown);
        let every = attr.sample_period == 1 && !attr.has(flag::FREQ);
        let event_type = (attr.kind != TYPE_SOFTWARE || attr.config != SW_DUMMY)
            .then(|| types.add(EventType { name, known, every }));
        plans.push(Plan { layout: attr.layout.clone(), event_type, action });
    }
    info.event_types = types.list;
    plans
}

/// The types of a capture; two attributes of one event (two `-e` lists, say) are one.
#[derive(Default)]
struct Types {
    list: Vec<EventType>,
    index: FxHashMap<String, usize>,
}

impl Types {
    fn add(&mut self, new: EventType) -> usize {
        if let Some(index) = self.index.get(&new.name) {
            if let Some(found) = self.list.get_mut(*index) {
                found.every |= new.every;
            }
            return *index;
        }
        let index = self.list.len();
        self.index.insert(new.name.clone(), index);
        self.list.push(new);
        index
    }
}

fn plain_name(attr: &Attr<'_>, described: Option<&str>) -> String {
    let software = usize::try_from(attr.config).ok().and_then(|c| SOFTWARE.get(c));
    match (attr.kind, software, described) {
        (TYPE_SOFTWARE, Some(name), _) => format!("software:{name}"),
        // perf's own name; without the formats a tracepoint cannot be decoded.
        (_, _, Some(name)) if !name.is_empty() => name.trim_end_matches(',').to_owned(),
        (TYPE_TRACEPOINT, _, _) => format!("tracepoint:{}", attr.config),
        (kind, _, _) => format!("type{kind}:{:#x}", attr.config),
    }
}

fn action(attr: &Attr<'_>, name: &str, format: Option<&Format<'_>>, around: Around<'_>) -> Action {
    if attr.kind == TYPE_SOFTWARE {
        return match attr.config {
            SW_MINOR_FAULTS => Action::MinorFault,
            SW_MAJOR_FAULTS => Action::MajorFault,
            _ => Action::Unknown,
        };
    }
    match format.map(|format| Tracepoint::new(name, format, around)) {
        Some(tracepoint) if tracepoint.known() => Action::Tracepoint(tracepoint),
        _ => Action::Unknown,
    }
}

/// The names in HEADER_EVENT_DESC (`write_event_desc`), in the order of the attributes.
fn names(mut cursor: Cursor<'_>) -> Option<Vec<String>> {
    let (count, attr_size) = (cursor.u32()?, cursor.u32()?);
    let mut names = Vec::new();
    for _ in 0..count {
        cursor.bytes_u64(attr_size.into())?;
        let ids = cursor.u32()?;
        names.push(String::from_utf8_lossy(cursor.perf_string()?).into_owned());
        cursor.bytes_u64(u64::from(ids).checked_mul(8)?)?;
    }
    Some(names)
}
