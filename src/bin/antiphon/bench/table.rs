//! The rows as a table for people, as wide as a terminal.

use super::Report;
use super::histogram::Histogram;
use super::rows::{Row, Scenario, digits, size, time};
use crate::style;
use antiphon::limits::{Class, ENOUGH};
use std::io::{self, Write};

/// The histogram's columns, and the times at which it begins and ends.
const STEPS: usize = 48;
const FROM_NANOS: f64 = 31.25;
const TO_NANOS: f64 = 128_000.0;

pub fn print(report: &Report, to: &mut dyn Write) -> io::Result<()> {
    let machine = &report.machine;
    let version = env!("CARGO_PKG_VERSION");
    let what = format!("antiphon {version}, {}, {}", machine.processor, machine.system);
    to.write_all(style::wrapped(&style::harmless(&what), 0).as_bytes())?;
    writeln!(to, "two processes, {}; {:.0} s", super::machine::where_at(report.places), report.seconds)?;
    for class in [Class::Near, Class::Far] {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.is_ours() && row.figures.class == class).collect();
        if rows.is_empty() {
            continue;
        }
        if !rows.iter().any(|row| row.is_enough()) {
            let most = rows.iter().map(|row| row.figures.samples).max().unwrap_or(0);
            writeln!(to, "\n{} processors: at most {most} samples, which say nothing", capital(class.name()))?;
            continue;
        }
        writeln!(to, "\n{} PROCESSORS", class.name().to_uppercase())?;
        let of = |wanted: &[Scenario]| -> Vec<&Row> {
            rows.iter().copied().filter(|row| wanted.contains(&row.scenario)).collect()
        };
        times(to, "calls, both awake", "bare memory", &of(&[Scenario::RoundTrip, Scenario::Loan]))?;
        spread(to, &of(&[Scenario::RoundTrip, Scenario::Loan]))?;
        speeds(to, &of(&[Scenario::OneWay]))?;
        times(to, "calls, both asleep", "semaphores", &of(&[Scenario::Asleep]))?;
    }
    let rows: Vec<&Row> =
        report.rows.iter().filter(|row| row.is_ours() && row.scenario == Scenario::OneCore).collect();
    if !rows.is_empty() {
        writeln!(to, "\nONE PROCESSOR FOR BOTH")?;
        times(to, "calls", "semaphores", &rows)?;
    }
    if report.rows.iter().any(|row| row.is_ours() && !row.is_enough()) {
        writeln!(to, "\n?: fewer than {ENOUGH} samples kept, here or of the limit: do not rely on it")?;
    }
    if !report.missing.is_empty() {
        writeln!(to)?;
    }
    for missing in &report.missing {
        to.write_all(style::wrapped(&format!("NOT MEASURED: {missing}"), 0).as_bytes())?;
    }
    let words = "A call is a message and its answer. median: of the samples of some milliseconds that were kept; they \
                 took turns, and one is thrown away where probes of the bare line before and after it differ by a \
                 fifth, or where it lost its processor. ratio: to the limit, this machine's own for the same thing in \
                 the same run; for times the smaller the better, for speeds the greater. It passes 1 where the copies \
                 of the two sides overlap, or where yielding beats sleeping. p50, p99, p99.9: of single calls, less \
                 what being timed alone adds.";
    write!(to, "\n{}", style::wrapped(words, 0))
}

fn capital(word: &str) -> String {
    word[..1].to_uppercase() + &word[1..]
}

fn times(to: &mut dyn Write, what: &str, limit: &str, rows: &[&Row]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        to,
        "\n{what:22}{:>9}{limit:>12}{:>7}{:>8}{:>8}{:>8}{:>5}",
        "median", "ratio", "p50", "p99", "p99.9", "kept"
    )?;
    for row in rows {
        let what = match row.scenario {
            Scenario::Loan => format!("{:>7}  lent, viewed", size(row.bytes)),
            _ => format!("{:>7}  {}", size(row.bytes), row.wait.unwrap_or("")),
        };
        let within = |share| row.singles.as_ref().and_then(|singles| singles.within(share)).map_or("-".into(), time);
        let (p50, p99, p99_9) = (within(0.5), within(0.99), within(0.999));
        let (limit, ratio) = against(row, time);
        let median = time(row.figures.median);
        let kept = kept(row);
        let line = format!("{what:22}{median:>9}{limit:>12}{ratio:>7}{p50:>8}{p99:>8}{p99_9:>8}{kept:>6}");
        writeln!(to, "{}", line.trim_end())?;
    }
    Ok(())
}

fn speeds(to: &mut dyn Write, rows: &[&Row]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let what = "one way";
    writeln!(to, "\n{what:22}{:>9}{:>12}{:>7}{:>8}{:>8}{:>13}", "GB/s", "memcpy", "ratio", "min", "max", "kept")?;
    for row in rows {
        let what = format!("{:>7}  {}", size(row.bytes), row.wait.unwrap_or(""));
        let (limit, ratio) = against(row, digits);
        let [median, min, max] = [row.figures.median, row.figures.min, row.figures.max].map(digits);
        let kept = kept(row);
        let line = format!("{what:22}{median:>9}{limit:>12}{ratio:>7}{min:>8}{max:>8}{kept:>14}");
        writeln!(to, "{}", line.trim_end())?;
    }
    Ok(())
}

fn against(row: &Row, shown: impl Fn(f64) -> String) -> (String, String) {
    let limit = row.limit.as_ref().map_or("-".into(), |limit| shown(limit.median));
    (limit, row.ratio().map_or("-".into(), |ratio| format!("{ratio:.2}")))
}

/// How many samples were kept, with a mark where that says little.
fn kept(row: &Row) -> String {
    let mark = if row.is_enough() { ' ' } else { '?' };
    format!("{}{mark}", row.figures.samples)
}

/// How single calls spread: a line for each, darker where more of them lie.
fn spread(to: &mut dyn Write, rows: &[&Row]) -> io::Result<()> {
    let rows: Vec<(&Row, &Histogram)> = rows
        .iter()
        .filter_map(|row| Some((*row, row.singles.as_ref()?)))
        .filter(|(row, _)| row.bytes <= 1024)
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    // Four steps a doubling, a mark every third doubling.
    let marks: String =
        (0..4).map(|mark| format!("{:<12}", format!("|{}", time(FROM_NANOS * 8f64.powi(mark))))).collect();
    writeln!(to, "\n{:22}{}", "how calls spread", marks.trim_end())?;
    for (row, singles) in rows {
        let what = format!("{:>7}  {}", size(row.bytes), row.wait.unwrap_or(""));
        let shares = singles.shares(FROM_NANOS, TO_NANOS, STEPS);
        let bars: String = shares.iter().map(|share| bar(*share)).collect();
        writeln!(to, "{what:22}{}", bars.trim_end())?;
    }
    writeln!(to, "each step a fifth longer; · below 0.1 %, ▁ 1 %, ▃ 6 %, ▅ 25 %, █ half of all")
}

/// By the logarithm: what is rare is what one looks for here.
fn bar(share: f64) -> char {
    let steps = [
        (0.0, ' '),
        (0.001, '·'),
        (0.01, '▁'),
        (0.03, '▂'),
        (0.06, '▃'),
        (0.12, '▄'),
        (0.25, '▅'),
        (0.37, '▆'),
        (0.5, '▇'),
    ];
    if share <= 0.0 {
        return ' ';
    }
    steps
        .iter()
        .rev()
        .find(|(least, _)| share >= *least)
        .map_or('·', |(least, bar)| if *least == 0.0 { '·' } else { *bar })
}
