//! What a run counted.

use std::collections::BTreeMap;
use std::fmt::Write;

#[derive(Debug, Default, Clone)]
pub struct Figures {
    counts: BTreeMap<String, u64>,
    /// Nanoseconds until the survivors of deaths were told.
    delays: Vec<u64>,
    /// The same in rounds in which the survivors too were stopped now and then.
    delays_with_stops: Vec<u64>,
    /// The same of block files, and in rounds without stops.
    delays_of_files: Vec<u64>,
}

impl Figures {
    pub fn add(&mut self, what: &str, many: u64) {
        *self.counts.entry(what.to_owned()).or_default() += many;
    }

    pub fn get(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    pub fn add_delays(&mut self, delays: &[u64], has_stops: bool) {
        let all = if has_stops { &mut self.delays_with_stops } else { &mut self.delays };
        all.extend(delays);
    }

    pub fn add_delays_of_files(&mut self, delays: &[u64]) {
        self.delays_of_files.extend(delays);
    }

    /// In one line, for another process.
    pub fn to_line(&self) -> String {
        let counts = self.counts.iter().map(|(what, many)| format!("{what}={many}"));
        let delays = self.delays.iter().map(|delay| format!("delay={delay}"));
        let with_stops = self.delays_with_stops.iter().map(|delay| format!("delay-with-stops={delay}"));
        let of_files = self.delays_of_files.iter().map(|delay| format!("delay-of-files={delay}"));
        counts.chain(delays).chain(with_stops).chain(of_files).collect::<Vec<_>>().join(";")
    }

    pub fn add_line(&mut self, line: &str) {
        for word in line.split(';') {
            let Some((what, many)) = word.rsplit_once('=') else { continue };
            let many = many.parse().unwrap_or_default();
            match what {
                "delay" => self.delays.push(many),
                "delay-with-stops" => self.delays_with_stops.push(many),
                "delay-of-files" => self.delays_of_files.push(many),
                _ => self.add(what, many),
            }
        }
    }

    /// All counts whose names begin with `room`, in words.
    fn of(&self, room: &str) -> String {
        let words =
            self.counts.iter().filter_map(|(what, many)| Some(format!("{} {many}", what.strip_prefix(room)?)));
        words.collect::<Vec<_>>().join(", ")
    }

    pub fn tell(&self, seconds: u64) -> String {
        let mut text = String::new();
        let number = |what| self.get(what);
        let kills: u64 = self.of_kills().sum();
        let steps = self.counts.keys().filter(|what| what.starts_with("step ")).count();
        let _ = writeln!(
            text,
            "{} operations, {kills} kills, {} of them of publishers, consumers, writers and readers by themselves, {seconds} s",
            number("operations"),
            self.kills()
        );
        let _ = writeln!(text, "  killed: {}", self.of("killed "));
        let all = crate::worker::all_steps().count();
        let _ = writeln!(text, "  at {steps} of {all} labelled steps: {}", self.of("step "));
        let _ = writeln!(text, "  rounds: {}", self.of("round "));
        let _ = writeln!(text, "  also: {}", self.of("also "));
        let _ = writeln!(text, "  outcomes: {}", self.of("outcome "));
        for (when, delays) in [
            ("", &self.delays),
            (" in rounds with stops", &self.delays_with_stops),
            (" at a block file, without stops", &self.delays_of_files),
        ] {
            let mut delays = delays.clone();
            delays.sort_unstable();
            let Some(most) = delays.last() else { continue };
            let at = |part: usize| delays[(delays.len() * part / 100).min(delays.len() - 1)] as f64 / 1e6;
            let (p50, p99, most) = (at(50), at(99), *most as f64 / 1e6);
            let many = delays.len();
            let _ = writeln!(
                text,
                "  survivors told of a death{when}: {many}, p50 {p50:.1} ms, p99 {p99:.1} ms, at most {most:.1} ms"
            );
        }
        text
    }

    fn of_kills(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().filter(|(what, _)| what.starts_with("killed ")).map(|(_, many)| *many)
    }

    /// Of publishers and consumers, writers and readers: not of those who race for a door, nor of those who make a region anew.
    pub fn kills(&self) -> u64 {
        ["publishers", "consumers", "writers", "readers"].iter().map(|who| self.get(&format!("killed {who}"))).sum()
    }
}
