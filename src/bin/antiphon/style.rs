//! How the command looks: colours where somebody looks, and figures in words.
//!
//! `Style` decides once whether there are colours, and paints. `Table` sets cells below each other. What comes from
//! a region or a file goes through [`harmless`] before it is shown: it may hold what a terminal obeys.

use clap::{Arg, ArgMatches};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

/// The widest line that is written: a terminal's usual width.
pub const COLUMNS: usize = 80;

/// `--color`, for the whole command.
pub fn argument() -> Arg {
    Arg::new("color")
        .long("color")
        .alias("colour")
        .value_name("WHEN")
        .value_parser(["auto", "always", "never"])
        .default_value("auto")
        .hide_possible_values(true)
        .hide_default_value(true)
        .global(true)
        .help("Colours: auto (on a terminal, default), always, never")
}

/// What a piece of text is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Note,
    Warning,
    Problem,
}

/// Whether there are colours.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    is_coloured: bool,
}

impl Style {
    /// As `--color` says for what goes to standard output. `auto` asks the environment, then the terminal.
    pub fn of(matches: &ArgMatches) -> Style {
        let is_coloured = match matches.get_one::<String>("color").map(String::as_str) {
            Some("always") => true,
            Some("never") => false,
            _ => is_wanted(|name| std::env::var(name).ok(), std::io::stdout().is_terminal()),
        };
        Style { is_coloured }
    }

    /// Without colours, whatever anybody says.
    pub fn plain() -> Style {
        Style { is_coloured: false }
    }

    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            _ if !self.is_coloured || text.is_empty() => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Note => "36",
            Tone::Warning => "33",
            Tone::Problem => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// `NO_COLOR` (no-color.org) before `CLICOLOR_FORCE` and `CLICOLOR` (bixense.com/clicolors) before the terminal.
fn is_wanted(variable: impl Fn(&str) -> Option<String>, is_terminal: bool) -> bool {
    let value = |name| variable(name).filter(|value| !value.is_empty());
    if value("NO_COLOR").is_some() {
        return false;
    }
    if value("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    let is_refused = value("CLICOLOR").is_some_and(|value| value == "0");
    is_terminal && !is_refused && value("TERM").is_some_and(|term| term != "dumb")
}

/// Cells below each other, two spaces between columns, as wide as they need to be.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<(Tone, String)>>,
    /// Which columns end at the same place: numbers.
    right: Vec<usize>,
}

impl Table {
    /// With a row of headings; numbers stand in the columns `right`.
    pub fn new(headings: &[&str], right: &[usize]) -> Table {
        let headings = headings.iter().map(|heading| (Tone::Faint, (*heading).to_owned())).collect();
        Table { rows: vec![headings], right: right.to_vec() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = (Tone, String)>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, each ended by a line feed, without spaces at their ends.
    pub fn text(&self, style: Style) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for (at, (_, cell)) in self.rows.iter().flat_map(|row| row.iter().enumerate()) {
            if at == widths.len() {
                widths.push(0);
            }
            widths[at] = widths[at].max(cell.chars().count());
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            let mut blank = 0;
            for (at, (tone, cell)) in row.iter().enumerate() {
                let rest = widths[at] - cell.chars().count();
                let (before, after) = if self.right.contains(&at) { (rest, 0) } else { (0, rest) };
                blank += before;
                if !cell.is_empty() {
                    line.extend(std::iter::repeat_n(' ', blank));
                    line.push_str(&style.paint(*tone, cell));
                    blank = 0;
                }
                blank += after + 2;
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

/// Words in lines of at most [`COLUMNS`], each after `indent` spaces and ended by a line feed.
pub fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut len = COLUMNS;
    for word in text.split_whitespace() {
        let wide = word.chars().count();
        if len + 1 + wide > COLUMNS {
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.extend(std::iter::repeat_n(' ', indent));
            len = indent;
        } else {
            lines.push(' ');
            len += 1;
        }
        lines.push_str(word);
        len += wide;
    }
    if !lines.is_empty() {
        lines.push('\n');
    }
    lines
}

/// `4 MiB`, `23.5 GiB`, `17 B`: three figures at most, and never a unit too many.
pub fn bytes(bytes: u64) -> String {
    let mut rest = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if rest < 1000.0 {
            break;
        }
        rest /= 1024.0;
        unit = larger;
    }
    let decimals = if rest < 99.95 { 1 } else { 0 };
    let figure = format!("{rest:.decimals$}");
    format!("{} {unit}", figure.trim_end_matches(".0"))
}

/// `1,234,567`
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3 s`, `5 min`, `2 h`, `9 d`: the largest unit that there is one of; `250 ms` below a second.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", count(seconds / 86_400)),
    }
}

/// A file that was asked for and cannot be had.
pub fn not_written(path: &Path, error: &io::Error) -> io::Error {
    let way_out = "choose one in a directory that is there and that you may write";
    io::Error::new(error.kind(), format!("{} cannot be written ({error}): {way_out}", path.display()))
}

/// Text that somebody else wrote, with what a terminal would obey in its escaped form.
pub fn harmless(text: &str) -> String {
    let is_safe = |c: char| !c.is_control() && !is_invisible(c);
    text.chars().flat_map(|c| if is_safe(c) { vec![c] } else { c.escape_default().collect() }).collect()
}

/// What turns the direction of the text around it, or is not seen.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_environment_and_then_the_terminal() {
        let wanted = |pairs: &[(&str, &str)], is_terminal| {
            let variable = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
            is_wanted(variable, is_terminal)
        };
        let term = ("TERM", "xterm-256color");
        assert!(wanted(&[term], true));
        assert!(!wanted(&[term], false));
        assert!(!wanted(&[], true), "nobody said what the terminal is");
        assert!(!wanted(&[("TERM", "dumb")], true));
        assert!(!wanted(&[term, ("NO_COLOR", "1")], true));
        assert!(wanted(&[term, ("NO_COLOR", "")], true), "an empty one says nothing");
        assert!(!wanted(&[term, ("CLICOLOR", "0")], true));
        assert!(wanted(&[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")], false));
        assert!(!wanted(&[term, ("CLICOLOR_FORCE", "0")], false));
        assert!(!wanted(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true));
    }

    #[test]
    fn figures_are_short_and_their_units_fit() {
        let seen = [0, 17, 999, 1 << 10, 1500, 4 << 20, 25_275_990_016, 1023 << 20, u64::MAX].map(bytes);
        let wanted = ["0 B", "17 B", "999 B", "1 KiB", "1.5 KiB", "4 MiB", "23.5 GiB", "1 GiB", "16384 PiB"];
        assert_eq!(seen, wanted);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        let seconds = [0, 59, 60, 7200, 86_400 * 1500].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(seconds, ["0 ms", "59 s", "1 min", "2 h", "1,500 d"]);
    }

    #[test]
    fn lines_end_before_the_edge() {
        let text = wrapped(&"word ".repeat(100), 4);
        assert!(text.lines().all(|line| line.len() <= COLUMNS && line.starts_with("    word")), "{text}");
        assert_eq!(text.split_whitespace().count(), 100);
        assert_eq!(wrapped(&"x".repeat(200), 2), format!("  {}\n", "x".repeat(200)), "nothing is cut");
        assert_eq!(wrapped("", 4), "");
    }

    #[test]
    fn a_table_is_aligned_with_and_without_colours() {
        let mut table = Table::new(&["NAME", "BYTES", "WHO"], &[1]);
        table.row([(Tone::Plain, "frames".into()), (Tone::Plain, "7".into()), (Tone::Good, "me".into())]);
        table.row([(Tone::Plain, "x".into()), (Tone::Plain, "1,000".into()), (Tone::Plain, String::new())]);
        let plain = table.text(Style { is_coloured: false });
        assert_eq!(plain, "NAME    BYTES  WHO\nframes      7  me\nx       1,000\n");
        let coloured = table.text(Style { is_coloured: true });
        assert!(coloured.contains("\x1b[32mme\x1b[0m\n"), "{coloured:?}");
        let codes = ["\x1b[2m", "\x1b[32m", "\x1b[0m"];
        assert_eq!(codes.iter().fold(coloured, |text, code| text.replace(code, "")), plain);
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(harmless("a\x1b[2Jb\n\u{202e}c é"), "a\\u{1b}[2Jb\\n\\u{202e}c é");
    }
}
