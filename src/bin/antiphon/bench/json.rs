//! The rows as JSON, for programs.
//!
//! `rows` holds objects of `scenario`, `contestant`, `wait` (antiphon's only), `bytes`, `unit`, `class`, `median`,
//! `min`, `max`, `samples`, `discarded`; antiphon's also of `limit` (`contestant`, `median`) and `ratio`, and where
//! calls were timed one by one of `p50`, `p99`, `p99_9` (null where too few calls say it) and `histogram`, an array of
//! `[from, to, calls]` in nanoseconds.

use super::Report;
use super::rows::Row;
use serde_json::{Value, json};

pub fn text(report: &Report) -> String {
    let value = json!({
        "antiphon": env!("CARGO_PKG_VERSION"),
        "machine": {
            "processor": report.machine.processor,
            "processors": report.machine.processors,
            "system": report.machine.system,
            "pinned_to": report.places.and_then(|places| places.cpus()),
        },
        "seconds": report.seconds,
        "not_measured": report.missing,
        "rows": report.rows.iter().map(row).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}

fn row(row: &Row) -> Value {
    let mut value = json!({
        "scenario": row.scenario.name(),
        "contestant": row.contestant,
        "bytes": row.bytes,
        "unit": row.scenario.unit().name(),
        "class": row.figures.class.name(),
        "median": row.figures.median,
        "min": row.figures.min,
        "max": row.figures.max,
        "samples": row.figures.samples,
        "discarded": row.figures.discarded,
    });
    if let Some(wait) = row.wait {
        value["wait"] = json!(wait);
    }
    if let Some(limit) = &row.limit {
        value["limit"] = json!({ "contestant": limit.name, "median": limit.median });
        value["ratio"] = json!(row.ratio());
    }
    if let Some(singles) = &row.singles {
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999)] {
            value[name] = json!(singles.within(share));
        }
        value["histogram"] = singles.buckets().map(|(from, to, calls)| json!([from, to, calls])).collect();
    }
    value
}
