//! Steps and critical-path segments to Parquet and CSV, so that other tools take over.
//!
//! The columns, with their units, are those of `docs/TABLES.md`. Names are
//! escaped as in the text report; `;` separates the frames of a stack and is
//! written `\x3b` within one.

use std::io::{self, Write};

use agenttrace_attribute::cause::Cause;
use agenttrace_attribute::report::{Report, Segment, StepReport};
use agenttrace_model::parse::Nanos;
use polars::prelude::{
    Column, CsvWriter, DataFrame, NamedFrom as _, ParquetCompression, ParquetWriter, PolarsError,
    SerWriter as _, Series,
};

use crate::escape::{frame, visible};

/// How a table is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableFormat {
    /// Apache Parquet, columns compressed.
    Parquet,
    /// RFC 4180 text with a header line; what is null is empty.
    Csv,
}

impl TableFormat {
    /// The end of file names.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }
}

/// Rows that are held in memory at a time: a row group of the Parquet file.
const BATCH: usize = 65_536;

/// Writes a row for each step: its window, its tool, each cause's time.
///
/// # Errors
/// Those of the writer.
pub fn steps(report: &Report, format: TableFormat, out: impl Write) -> io::Result<()> {
    let batches = report.steps.chunks(BATCH).map(steps_frame);
    write(steps_frame(&[]), batches, format, out)
}

/// Writes a row for each segment of each step's critical path.
///
/// # Errors
/// Those of the writer.
pub fn segments(report: &Report, format: TableFormat, out: impl Write) -> io::Result<()> {
    let mut rows = report
        .steps
        .iter()
        .flat_map(|step| step.segments.iter().map(move |segment| (step, segment)));
    let batches = std::iter::from_fn(|| {
        let batch: Vec<_> = rows.by_ref().take(BATCH).collect();
        (!batch.is_empty()).then(|| segments_frame(&batch))
    });
    write(segments_frame(&[]), batches, format, out)
}

fn write(
    empty: Result<DataFrame, PolarsError>,
    batches: impl Iterator<Item = Result<DataFrame, PolarsError>>,
    format: TableFormat,
    mut out: impl Write,
) -> io::Result<()> {
    let mut empty = empty.map_err(io_error)?;
    match format {
        TableFormat::Parquet => {
            let mut writer = ParquetWriter::new(&mut out)
                .with_compression(ParquetCompression::Zstd(None))
                .set_parallel(false)
                .batched(empty.schema())
                .map_err(io_error)?;
            for batch in batches {
                let mut batch = batch.map_err(io_error)?;
                batch.rechunk_mut();
                writer.write_batch(&batch).map_err(io_error)?;
            }
            writer.finish().map_err(io_error)?;
        }
        TableFormat::Csv => {
            CsvWriter::new(&mut out).finish(&mut empty).map_err(io_error)?;
            for batch in batches {
                let mut batch = batch.map_err(io_error)?;
                CsvWriter::new(&mut out)
                    .include_header(false)
                    .finish(&mut batch)
                    .map_err(io_error)?;
            }
        }
    }
    out.flush()
}

fn io_error(error: PolarsError) -> io::Error {
    // Keeps the kind, so that a broken pipe stays one.
    let kind = if let PolarsError::IO { error, .. } = &error {
        error.kind()
    } else {
        io::ErrorKind::Other
    };
    io::Error::new(kind, error.to_string())
}

/// Signed, for not every reader of Parquet knows unsigned integers.
fn int(ns: Nanos) -> i64 {
    i64::try_from(ns.0).unwrap_or(i64::MAX)
}

fn numbers<T>(name: &str, rows: &[T], get: impl Fn(&T) -> i64) -> Column {
    Series::new(name.into(), rows.iter().map(get).collect::<Vec<i64>>()).into()
}

fn ids<T>(name: &str, rows: &[T], get: impl Fn(&T) -> i32) -> Column {
    Series::new(name.into(), rows.iter().map(get).collect::<Vec<i32>>()).into()
}

fn texts<T>(name: &str, rows: &[T], get: impl Fn(&T) -> String) -> Column {
    Series::new(name.into(), rows.iter().map(get).collect::<Vec<String>>()).into()
}

fn some_texts<T>(name: &str, rows: &[T], get: impl Fn(&T) -> Option<String>) -> Column {
    Series::new(name.into(), rows.iter().map(get).collect::<Vec<Option<String>>>()).into()
}

fn steps_frame(rows: &[StepReport]) -> Result<DataFrame, PolarsError> {
    let mut columns = vec![
        texts("step_id", rows, |s| visible(&s.id.to_string())),
        texts("tool", rows, |s| visible(&s.tool)),
        ids("pid", rows, |s| s.pid.0),
        ids("tid", rows, |s| s.tid.0),
        some_texts("parent", rows, |s| s.parent.as_ref().map(|p| visible(&p.to_string()))),
        numbers("start_ns", rows, |s| int(s.start)),
        numbers("end_ns", rows, |s| int(s.end)),
        numbers("wall_ns", rows, |s| int(s.wall)),
        numbers("self_ns", rows, |s| int(s.self_ns)),
    ];
    for cause in Cause::ALL {
        let name = format!("{}_ns", cause.name());
        columns.push(numbers(&name, rows, |s| int(s.cause_ns(cause))));
    }
    let verdict = |s: &StepReport| s.verdicts.first().map(|v| v.id.to_owned());
    let confidence = |s: &StepReport| s.verdicts.first().map(|v| v.confidence.name().to_owned());
    columns.push(some_texts("verdict", rows, verdict));
    columns.push(some_texts("confidence", rows, confidence));
    DataFrame::new(rows.len(), columns)
}

fn segments_frame(rows: &[(&StepReport, Segment<'_>)]) -> Result<DataFrame, PolarsError> {
    let stack = |segment: &Segment<'_>| {
        segment.stack.iter().map(|f| frame(f)).collect::<Vec<String>>().join(";")
    };
    let columns = vec![
        texts("step_id", rows, |(step, _)| visible(&step.id.to_string())),
        texts("tool", rows, |(step, _)| visible(&step.tool)),
        ids("tid", rows, |(_, s)| s.tid.0),
        ids("pid", rows, |(_, s)| s.pid.0),
        texts("comm", rows, |(_, s)| visible(&s.comm)),
        numbers("start_ns", rows, |(_, s)| int(s.start)),
        numbers("end_ns", rows, |(_, s)| int(s.end)),
        numbers("ns", rows, |(_, s)| int(s.end - s.start)),
        texts("cause", rows, |(_, s)| s.cause.name().to_owned()),
        texts("resource", rows, |(_, s)| s.resource.name().to_owned()),
        some_texts("under", rows, |(_, s)| s.under.map(|c| c.name().to_owned())),
        texts("stack", rows, |(_, s)| stack(s)),
        some_texts("object", rows, |(_, s)| s.object.as_deref().map(visible)),
        some_texts("reason", rows, |(_, s)| s.reason.as_deref().map(visible)),
        {
            let inferred: Vec<bool> = rows.iter().map(|(_, s)| s.inferred).collect();
            Series::new("inferred".into(), inferred).into()
        },
    ];
    DataFrame::new(rows.len(), columns)
}

#[cfg(test)]
mod tests {
    use polars::prelude::{ParquetReader, SerReader as _};

    use super::*;
    use crate::fixture;

    fn csv(write: impl Fn(&Report, TableFormat, &mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&fixture::report(), TableFormat::Csv, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The names in the first column of the table below a heading of TABLES.md.
    fn documented(heading: &str) -> Vec<&'static str> {
        let doc = include_str!("../../../docs/TABLES.md");
        let part = doc.split("\n## ").find(|part| part.starts_with(heading)).unwrap();
        part.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next()).collect()
    }

    #[test]
    fn columns_are_those_documented() {
        let steps = csv(|r, f, w| steps(r, f, w));
        let segments = csv(|r, f, w| segments(r, f, w));
        let header = |text: &str| text.lines().next().unwrap_or("").to_owned();
        assert_eq!(header(&steps), documented("steps").join(","));
        assert_eq!(header(&segments), documented("segments").join(","));
    }

    #[test]
    fn a_row_for_each_step_and_segment() {
        let steps = csv(|r, f, w| steps(r, f, w));
        assert_eq!(
            steps.lines().nth(1).unwrap(),
            "142,search_codebase,18421,18421,,322644126913,322664341234,20214321,20214321,\
             0,0,300000,0,0,0,0,0,0,0,14502000,0,0,2104000,0,0,0,0,0,0,0,0,0,3308321,\
             mmap_fault_storm,high"
        );
        assert_eq!(
            steps.lines().nth(2).unwrap().split(",18421").next().unwrap(),
            "a|<script>\\x1b[31m,evil;\\u{202e}tool\\n<script>alert(1)</script>"
        );
        let segments = csv(|r, f, w| segments(r, f, w));
        let rows: Vec<&str> = segments.lines().collect();
        assert_eq!(rows.len(), 1 + 7 + 1);
        assert_eq!(
            rows[5],
            "142,search_codebase,18421,18421,agent,322658921913,322659221913,300000,run_delay,\
             run_queue,major_fault,wait4;search;major fault vector_index.db,,,false"
        );
        assert!(rows[8].ends_with("user_cpu,cpu_user,,</svg>\\x3bx,,,false"), "{}", rows[8]);
    }

    type Writer = fn(&Report, TableFormat, &mut Vec<u8>) -> io::Result<()>;

    #[test]
    fn parquet_is_the_same_each_time() {
        let bytes = |write: Writer| {
            let mut out = Vec::new();
            write(&fixture::report(), TableFormat::Parquet, &mut out).unwrap();
            out
        };
        let all: [Writer; 2] = [|r, f, w| steps(r, f, w), |r, f, w| segments(r, f, w)];
        for write in all {
            let once = bytes(write);
            assert!(once.starts_with(b"PAR1") && once.ends_with(b"PAR1"));
            assert_eq!(once, bytes(write));
        }
        let read = ParquetReader::new(std::io::Cursor::new(bytes(all[1]))).finish().unwrap();
        assert_eq!(read.shape(), (8, 15));
        let sum: i64 = read.column("ns").unwrap().i64().unwrap().into_no_null_iter().sum();
        assert_eq!(sum, 20_214_321 + 4_000_000);
        assert_eq!(read.column("under").unwrap().str().unwrap().get(4), Some("major_fault"));
        assert_eq!(read.column("object").unwrap().str().unwrap().get(0), None);
    }

    #[test]
    fn no_steps_make_an_empty_table() {
        let report = Report { steps: Vec::new(), ..fixture::report() };
        let mut out = Vec::new();
        segments(&report, TableFormat::Csv, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 1);
        let mut out = Vec::new();
        steps(&report, TableFormat::Parquet, &mut out).unwrap();
        assert!(out.ends_with(b"PAR1"));
    }
}
