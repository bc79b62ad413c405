//! A perf.data through the reader of the crate `linux-perf-data`: a yardstick for compare.sh.
//!
//! It finds the records, orders them by time, and takes each sample apart; it decodes no
//! payload of a tracepoint. Prints how many records and samples there were.

use std::fs::File;
use std::hint::black_box;
use std::io::BufReader;
use std::process::ExitCode;

use linux_perf_data::linux_perf_event_reader::EventRecord;
use linux_perf_data::{PerfFileReader, PerfFileRecord};

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let Some(path) = std::env::args().skip(1).find(|arg| arg != "--bench") else {
        eprintln!("usage: cargo bench --bench linux_perf_data -- perf.data");
        // All benchmarks at once have nothing to read.
        return ExitCode::SUCCESS;
    };
    match read(&path) {
        Ok((records, samples)) => {
            eprintln!("{records} records, {samples} samples");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::from(2)
        }
    }
}

fn read(path: &str) -> Result<(u64, u64), Box<dyn std::error::Error>> {
    let reader = BufReader::new(File::open(path)?);
    let PerfFileReader { mut record_iter, mut perf_file } = PerfFileReader::parse_file(reader)?;
    let (mut records, mut samples) = (0, 0);
    while let Some(record) = record_iter.next_record(&mut perf_file)? {
        records += 1;
        let PerfFileRecord::EventRecord { record, .. } = record else { continue };
        if let EventRecord::Sample(sample) = record.parse()? {
            samples += 1;
            black_box((sample.timestamp, sample.cpu, sample.tid));
        }
    }
    Ok((records, samples))
}
