//! Steps and segments to Parquet and CSV.
