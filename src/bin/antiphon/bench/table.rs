//! The rows as a table for people, 106 columns wide at most.

use super::Report;
use super::histogram::Histogram;
use super::rows::{Row, Scenario, digits, size, time};
use antiphon::limits::{Class, ENOUGH};
use std::io::{self, Write};

/// The histogram's columns, and the times at which it begins and ends.
const STEPS: usize = 48;
const FROM_NANOS: f64 = 31.25;
const TO_NANOS: f64 = 128_000.0;

pub fn print(report: &Report, to: &mut dyn Write) -> io::Result<()> {
    let machine = &report.machine;
    writeln!(to, "antiphon {}, {}, {}", env!("CARGO_PKG_VERSION"), machine.processor, machine.system)?;
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
        times(to, "call and answer, both awake", "bare memory", &of(&[Scenario::RoundTrip, Scenario::Loan]))?;
        spread(to, &of(&[Scenario::RoundTrip, Scenario::Loan]))?;
        speeds(to, &of(&[Scenario::OneWay]))?;
        times(to, "call and answer, both asleep", "semaphores", &of(&[Scenario::Asleep]))?;
    }
    let rows: Vec<&Row> =
        report.rows.iter().filter(|row| row.is_ours() && row.scenario == Scenario::OneCore).collect();
    if !rows.is_empty() {
        writeln!(to, "\nONE PROCESSOR FOR BOTH")?;
        times(to, "call and answer", "semaphores", &rows)?;
    }
    if report.rows.iter().any(|row| row.is_ours() && !row.is_enough()) {
        writeln!(
            to,
            "\n?: fewer than {ENOUGH} samples, here or of the limit: do not rely on these, and run it again"
        )?;
    }
    if !report.missing.is_empty() {
        writeln!(to)?;
    }
    for missing in &report.missing {
        writeln!(to, "NOT MEASURED: {missing}")?;
    }
    writeln!(
        to,
        "\nmedian: of samples of some milliseconds that took turns; a sample is thrown away where probes of the bare \
         line\nbefore and after it differ by a fifth, or where it lost its processor. ratio: to the limit, this \
         machine's own for\nthe same thing in the same run; for times the smaller the better, for speeds the \
         greater. It passes 1 where the\ncopies of the two sides overlap, or where yielding beats sleeping. p50, \
         p99, p99.9: of single calls, less what\nbeing timed alone adds."
    )
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
        "\n{what:32}{:>10}{limit:>13}{:>7}{:>9}{:>9}{:>9}{:>9}{:>8}",
        "median", "ratio", "p50", "p99", "p99.9", "samples", "thrown"
    )?;
    for row in rows {
        let what = match row.scenario {
            Scenario::Loan => format!("{:>9}  lent, viewed in place", size(row.bytes)),
            _ => format!("{:>9}  {}", size(row.bytes), row.wait.unwrap_or("")),
        };
        let within = |share| row.singles.as_ref().and_then(|singles| singles.within(share)).map_or("-".into(), time);
        let (p50, p99, p99_9) = (within(0.5), within(0.99), within(0.999));
        let (limit, ratio) = against(row, time);
        let median = time(row.figures.median);
        let counts = counts(row);
        writeln!(to, "{what:32}{median:>10}{limit:>13}{ratio:>7}{p50:>9}{p99:>9}{p99_9:>9}{counts:>17}")?;
    }
    Ok(())
}

fn speeds(to: &mut dyn Write, rows: &[&Row]) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let what = "one way, copied in and out";
    writeln!(
        to,
        "\n{what:32}{:>10}{:>13}{:>7}{:>9}{:>9}{:>18}{:>8}",
        "GB/s", "memcpy", "ratio", "min", "max", "samples", "thrown"
    )?;
    for row in rows {
        let what = format!("{:>9}  {}", size(row.bytes), row.wait.unwrap_or(""));
        let (limit, ratio) = against(row, digits);
        let [median, min, max] = [row.figures.median, row.figures.min, row.figures.max].map(digits);
        let counts = counts(row);
        writeln!(to, "{what:32}{median:>10}{limit:>13}{ratio:>7}{min:>9}{max:>9}{counts:>26}")?;
    }
    Ok(())
}

fn against(row: &Row, shown: impl Fn(f64) -> String) -> (String, String) {
    let limit = row.limit.as_ref().map_or("-".into(), |limit| shown(limit.median));
    (limit, row.ratio().map_or("-".into(), |ratio| format!("{ratio:.2}")))
}

/// How many samples were kept, with a mark where that says little, and how many thrown away.
fn counts(row: &Row) -> String {
    let mark = if row.is_enough() { ' ' } else { '?' };
    format!("{}{mark}{:>7}", row.figures.samples, row.figures.discarded)
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
    writeln!(to, "\n{:32}{}", "how single calls spread", marks.trim_end())?;
    for (row, singles) in rows {
        let what = format!("{:>9}  {}", size(row.bytes), row.wait.unwrap_or(""));
        let shares = singles.shares(FROM_NANOS, TO_NANOS, STEPS);
        let bars: String = shares.iter().map(|share| bar(*share)).collect();
        writeln!(to, "{what:32}{}", bars.trim_end())?;
    }
    writeln!(to, "{:32}each step a fifth longer; · below 0.1 %, ▁ 1 %, ▃ 6 %, ▅ 25 %, █ half of all", "")
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
