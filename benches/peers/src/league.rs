//! What a run showed, as it stands in `league.json`.

use crate::Failure;
use crate::scenario::size_name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct League {
    /// What it ran on: figures mean nothing on another machine.
    pub machine: BTreeMap<String, String>,
    /// Each contestant's version, as it says itself.
    pub versions: BTreeMap<String, String>,
    /// Who did not take part, and why.
    pub missing: Vec<Missing>,
    pub rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Missing {
    pub contestant: String,
    pub reason: String,
}

/// What one contestant showed in one scenario of one size, in one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub scenario: String,
    pub contestant: String,
    /// Bytes.
    pub size: usize,
    pub unit: String,
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// How many samples of this class were kept.
    pub samples: usize,
    /// How many of this contestant in this scenario were discarded: those are of no class.
    pub discarded: usize,
    /// `near`, `far` or `same-core`.
    pub class: String,
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Row { scenario, contestant, size, unit, median, min, max, samples, discarded, class } = self;
        let digits = if *median < 100.0 { 2 } else { 0 };
        let what = format!("{scenario} {}", size_name(*size));
        write!(
            f,
            "{what:19} {contestant:28} {class:9} {min:9.digits$} {median:9.digits$} {max:9.digits$} {unit:4} \
             {samples:4} kept {discarded:4} discarded"
        )
    }
}

impl League {
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
    }

    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?)
    }

    pub fn row(&self, scenario: &str, size: usize, contestant: &str, class: &str) -> Option<&Row> {
        self.rows.iter().find(|row| {
            (row.scenario.as_str(), row.size, row.contestant.as_str(), row.class.as_str())
                == (scenario, size, contestant, class)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_names_that_are_promised() {
        let row = Row {
            scenario: "round trip".into(),
            contestant: "pipe".into(),
            size: 8,
            unit: "ns".into(),
            median: 2.5,
            min: 1.0,
            max: 4.0,
            samples: 60,
            discarded: 3,
            class: "near".into(),
        };
        let value = serde_json::to_value(&row).unwrap();
        let names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut promised =
            ["scenario", "contestant", "size", "unit", "median", "min", "max", "samples", "discarded", "class"];
        promised.sort_unstable();
        assert_eq!(names, promised);
        assert_eq!(serde_json::from_value::<Row>(value).unwrap(), row);
    }
}
