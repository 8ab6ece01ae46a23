//! The rows as one self-contained picture: four panels for each class of processors that was met often enough.

use super::Report;
use super::rows::{Row, Scenario, digits, size, time};
use super::svg::{Anchor, Scale, Svg, decades, round_up};
use Anchor::{End, Middle, Start};
use antiphon::limits::Class;

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 32.0;
const GAP: f64 = 40.0;
const PANEL: (f64, f64) = ((WIDTH - 2.0 * MARGIN - GAP) / 2.0, 312.0);
const HEADER: f64 = 84.0;
const FOOTER: f64 = 34.0;

/// A panel's own coordinates.
#[derive(Clone, Copy)]
struct Panel {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Panel {
    /// With its title and a line below that; what is left is for the plot.
    fn new(svg: &mut Svg, (column, row): (u32, f64), title: &str, more: &str) -> Self {
        let x = MARGIN + f64::from(column) * (PANEL.0 + GAP);
        svg.text((x, row + 14.0), Start, "head", title);
        svg.text((x, row + 32.0), Start, "soft", more);
        Panel { left: x + 52.0, top: row + 62.0, right: x + PANEL.0, bottom: row + PANEL.1 - 40.0 }
    }

    fn across(&self, values: (f64, f64), is_log: bool) -> Scale {
        Scale { values, places: (self.left, self.right), is_log }
    }

    fn upwards(&self, values: (f64, f64), is_log: bool) -> Scale {
        Scale { values, places: (self.bottom, self.top), is_log }
    }

    fn level(&self, svg: &mut Svg, y: f64, label: &str) {
        svg.line((self.left, y), (self.right, y), "grid");
        svg.text((self.left - 8.0, y + 4.0), End, "soft", label);
    }

    fn below(&self, svg: &mut Svg, x: f64, label: &str) {
        svg.text((x, self.bottom + 18.0), Middle, "soft", label);
    }

    fn floor(&self, svg: &mut Svg) {
        svg.line((self.left, self.bottom), (self.right, self.bottom), "axis");
    }
}

pub fn draw(report: &Report) -> String {
    let mut svg = Svg::new();
    let mut classes = vec![Class::Near, Class::Far];
    let shown = [Scenario::RoundTrip, Scenario::OneWay, Scenario::Asleep];
    classes.retain(|class| shown.iter().any(|scenario| !of(report, *scenario, *class).is_empty()));
    let title = "antiphon: calls and answers between two processes, beside this machine's limits";
    svg.text((MARGIN, 40.0), Start, "title", title);
    let machine = &report.machine;
    let where_at = match report.places.and_then(|places| places.cpus()) {
        Some([one, other]) => format!("processors {one} and {other}"),
        None => "not pinned".to_owned(),
    };
    let version = env!("CARGO_PKG_VERSION");
    let line = format!("antiphon {version} · {} · {} · {where_at}", machine.processor, machine.system);
    svg.text((MARGIN, 62.0), Start, "soft", &line);
    let mut y = HEADER;
    for (index, class) in classes.iter().enumerate() {
        let apart = format!("{} processors", class.name());
        round_trips(&mut svg, (0, y), report, *class, &apart);
        spread(&mut svg, (1, y), report, *class, &apart);
        y += PANEL.1 + 16.0;
        let is_more = [Scenario::OneWay, Scenario::Asleep].iter().any(|more| !of(report, *more, *class).is_empty());
        if index == 0 || is_more {
            speeds(&mut svg, (0, y), report, *class, &apart);
            asleep(&mut svg, (1, y), report, *class, index == 0);
            y += PANEL.1 + 16.0;
        }
    }
    if classes.is_empty() {
        asleep(&mut svg, (0, y), report, Class::Near, true);
        y += PANEL.1 + 16.0;
    }
    let footer = "Medians of short samples that took turns in one run. × is the ratio to the limit of the same run: \
                  for times less is better, for speeds more.";
    svg.text((MARGIN, y + 8.0), Start, "soft", footer);
    svg.finish(WIDTH, y + FOOTER, title)
}

/// What may be drawn: ours, of a scenario and class, with enough samples.
fn of(report: &Report, scenario: Scenario, class: Class) -> Vec<&Row> {
    let here = |row: &&Row| {
        row.is_ours()
            && row.scenario == scenario
            && row.figures.class == class
            && row.is_enough()
            && row.limit.is_some()
    };
    report.rows.iter().filter(here).collect()
}

fn limit_of(row: &Row) -> f64 {
    row.limit.as_ref().map_or(f64::NAN, |limit| limit.median)
}

fn times_limit(row: &Row) -> String {
    format!("{:.2} ×", row.ratio().unwrap_or(f64::NAN))
}

const TOO_FEW: &str = "too few undisturbed samples: run it again";

fn too_few(svg: &mut Svg, panel: &Panel) {
    svg.text((panel.left, panel.top + 20.0), Start, "soft", TOO_FEW);
}

/// A dot and a word for each colour, above a panel's plot.
fn legend(svg: &mut Svg, panel: &Panel, limit: &str) {
    let y = panel.top - 14.0;
    svg.dot((panel.left + 4.0, y - 4.0), "ours");
    svg.text((panel.left + 14.0, y), Start, "", "antiphon");
    svg.dot((panel.left + 94.0, y - 4.0), "limit");
    svg.text((panel.left + 104.0, y), Start, "", limit);
}

fn round_trips(svg: &mut Svg, at: (u32, f64), report: &Report, class: Class, apart: &str) {
    let mut rows = of(report, Scenario::RoundTrip, class);
    rows.retain(|row| row.wait == Some("Spin"));
    rows.sort_by_key(|row| row.bytes);
    let loans = of(report, Scenario::Loan, class);
    let title = "A call and its answer, both awake";
    let panel =
        Panel::new(svg, at, title, &format!("median round trip by size, Spin, {apart}; both axes logarithmic"));
    let sizes = || rows.iter().chain(&loans).map(|row| row.bytes as f64);
    if rows.is_empty() {
        return too_few(svg, &panel);
    }
    let all = rows.iter().flat_map(|row| [row.figures.median, limit_of(row)]);
    let (low, high) = decades(all.chain(loans.iter().map(|row| row.figures.median)));
    let up = panel.upwards((low, high), true);
    let inner = Panel { left: panel.left + 18.0, right: panel.right - 24.0, ..panel };
    let (least, most) = sizes().fold((f64::INFINITY, 0.0f64), |(low, high), size| (low.min(size), high.max(size)));
    let across = inner.across((least, most.max(least * 2.0)), true);
    let mut decade = low;
    while decade <= high * 1.01 {
        // Where there is one decade only, steps between.
        for step in if high / low < 99.0 { &[1.0, 2.0, 5.0][..] } else { &[1.0] } {
            if decade * step <= high * 1.01 {
                panel.level(svg, up.at(decade * step), &short_time(decade * step));
            }
        }
        decade *= 10.0;
    }
    panel.floor(svg);
    let point = |row: &Row, value: f64| (across.at(row.bytes as f64), up.at(value));
    let limits: Vec<_> = rows.iter().map(|row| point(row, limit_of(row))).collect();
    let ours: Vec<_> = rows.iter().map(|row| point(row, row.figures.median)).collect();
    svg.path(&limits, "limit-line");
    svg.path(&ours, "ours-line");
    for (row, (limit, ours)) in rows.iter().zip(limits.iter().zip(&ours)) {
        svg.dot(*limit, "limit");
        svg.dot(*ours, "ours");
        // On the side away from the limit; a little to the right below, where the line climbs.
        let at = if ours.1 <= limit.1 { (ours.0 - 6.0, ours.1 - 10.0) } else { (ours.0 + 6.0, ours.1 + 24.0) };
        svg.text(at, Middle, "ours", &times_limit(row));
    }
    let mut labelled: Vec<usize> = rows.iter().chain(&loans).map(|row| row.bytes).collect();
    labelled.dedup();
    for bytes in labelled {
        svg.text((across.at(bytes as f64), panel.bottom + 18.0), Middle, "soft small", &size(bytes));
    }
    for row in &loans {
        let at = point(row, row.figures.median);
        svg.dot(at, "hollow");
        svg.text(
            (at.0 - 10.0, at.1 + 4.0),
            End,
            "ours",
            &format!("lent, viewed in place: {}", time(row.figures.median)),
        );
    }
    legend(svg, &panel, "bare memory, copied in and out");
}

fn spread(svg: &mut Svg, at: (u32, f64), report: &Report, class: Class, apart: &str) {
    const STEPS: usize = 72;
    let title = "How single calls spread";
    let mut rows = of(report, Scenario::RoundTrip, class);
    rows.retain(|row| row.wait == Some("Spin") && row.bytes == 8);
    let Some((row, singles)) = rows.first().and_then(|row| Some((row, row.singles.as_ref()?))) else {
        let panel = Panel::new(svg, at, title, &format!("calls of 8 B, Spin, {apart}"));
        return too_few(svg, &panel);
    };
    let more =
        format!("{} calls of {}, Spin, {apart}; both axes logarithmic", thousands(singles.total()), size(row.bytes));
    let panel = Panel::new(svg, at, title, &more);
    let (low, high) = (10.0, 1e5);
    let shares = singles.shares(low, high, STEPS);
    let across = panel.across((low, high), true);
    let least = shares.iter().copied().filter(|share| *share > 0.0).fold(1.0, f64::min);
    let least = 10f64.powf(least.log10().floor()).max(1e-7);
    let up = panel.upwards((least, 1.0), true);
    let mut level = 1.0;
    while level > least * 0.99 {
        panel.level(svg, up.at(level), &percent(level));
        level /= 10.0;
    }
    let mut outline = vec![(panel.left, panel.bottom)];
    for (step, share) in shares.iter().enumerate() {
        let edge = |step: usize| panel.left + (panel.right - panel.left) * step as f64 / STEPS as f64;
        let y = if *share > 0.0 { up.at(share.max(least)) } else { panel.bottom };
        outline.extend([(edge(step), y), (edge(step + 1), y)]);
    }
    outline.push((panel.right, panel.bottom));
    svg.path(&outline, "area");
    svg.path(&outline[1..outline.len() - 1], "ours-line");
    panel.floor(svg);
    for tick in [10.0, 100.0, 1e3, 1e4, 1e5] {
        panel.below(svg, across.at(tick), &short_time(tick));
    }
    // Each mark one line lower than the one before, so that close ones do not meet.
    for (order, (name, share)) in [("half within", 0.5), ("99 %", 0.99), ("99.9 %", 0.999)].into_iter().enumerate() {
        let Some(within) = singles.within(share) else { continue };
        let (x, y) = (across.at(within.clamp(low, high)), panel.top + 12.0 + 17.0 * order as f64);
        svg.line((x, y - 4.0), (x, panel.bottom), "mark");
        svg.text((x + 6.0, y), Start, "", &format!("{name} {}", time(within)));
    }
}

fn speeds(svg: &mut Svg, at: (u32, f64), report: &Report, class: Class, apart: &str) {
    let mut rows = of(report, Scenario::OneWay, class);
    rows.sort_by_key(|row| row.bytes);
    let more = format!("median speed by size, GB/s, {apart}");
    let panel = Panel::new(svg, at, "Many bytes one way, copied in and out", &more);
    if rows.is_empty() {
        return too_few(svg, &panel);
    }
    let most = rows.iter().map(|row| row.figures.median.max(limit_of(row))).fold(0.0, f64::max);
    let (high, step) = round_up(most);
    let up = panel.upwards((0.0, high), false);
    let mut level = 0.0;
    while level <= high * 1.01 {
        panel.level(svg, up.at(level), &format!("{level}"));
        level += step;
    }
    let slot = (panel.right - panel.left) / rows.len() as f64;
    let width = (slot * 0.34).min(44.0);
    for (index, row) in rows.iter().enumerate() {
        let middle = panel.left + slot * (index as f64 + 0.5);
        let bars = [(middle - width - 2.0, limit_of(row), "limit"), (middle + 2.0, row.figures.median, "ours")];
        for (x, value, class) in bars {
            svg.rect((x, up.at(value)), (width, panel.bottom - up.at(value)), class);
        }
        let label = times_limit(row);
        svg.text((middle + 3.0, up.at(row.figures.median) - 6.0), Start, "ours", &label);
        panel.below(svg, middle, &size(row.bytes));
    }
    panel.floor(svg);
    legend(svg, &panel, "one processor's memcpy");
}

/// Two groups of bars, each with an axis of its own that begins at 0.
fn asleep(svg: &mut Svg, at: (u32, f64), report: &Report, class: Class, with_one_core: bool) {
    let more = "median round trip of 8 B; each group from 0 to its own longest";
    let panel = Panel::new(svg, at, "A call and its answer, asleep in between", more);
    let left = panel.left - 52.0;
    let mut groups = vec![(format!("two processors, {}", class.name()), of(report, Scenario::Asleep, class))];
    if with_one_core {
        groups.push(("one processor for both".to_owned(), of(report, Scenario::OneCore, Class::SameCore)));
    }
    let mut y = panel.top - 8.0;
    for (title, rows) in groups {
        svg.text((left, y + 10.0), Start, "", &title);
        let Some(first) = rows.first() else {
            svg.text((left, y + 30.0), Start, "soft", TOO_FEW);
            y += 56.0;
            continue;
        };
        y += 22.0;
        let limit = limit_of(first);
        let mut bars = vec![("two semaphores".to_owned(), limit, "limit", time(limit))];
        for row in &rows {
            let median = row.figures.median;
            let label = format!("{}, {}", time(median), times_limit(row));
            bars.push((format!("antiphon, {}", row.wait.unwrap_or("")), median, "ours", label));
        }
        let most = bars.iter().map(|bar| bar.1).fold(0.0, f64::max);
        let across = Scale { values: (0.0, most), places: (left + 130.0, panel.right - 112.0), is_log: false };
        for (name, value, class, label) in bars {
            svg.text((left + 122.0, y + 13.0), End, "soft", &name);
            svg.rect((left + 130.0, y), (across.at(value) - across.at(0.0), 18.0), class);
            svg.text((across.at(value) + 8.0, y + 13.0), Start, "", &label);
            y += 26.0;
        }
        svg.line((left + 130.0, y - 26.0 * (rows.len() as f64 + 1.0) - 4.0), (left + 130.0, y - 4.0), "axis");
        y += 14.0;
    }
}

/// A power of ten in as few letters as can be.
fn short_time(nanos: f64) -> String {
    let nanos = nanos.round();
    match nanos {
        1e9.. => format!("{:.0} s", nanos / 1e9),
        1e6.. => format!("{:.0} ms", nanos / 1e6),
        1e3.. => format!("{:.0} µs", nanos / 1e3),
        _ => format!("{nanos:.0} ns"),
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let places = (-percent.log10().floor()).max(0.0) as usize;
    format!("{percent:.places$} %")
}

fn thousands(count: u64) -> String {
    match count {
        1_000_000.. => format!("{} million", digits(count as f64 / 1e6)),
        1000.. => format!("{},{:03}", count / 1000, count % 1000),
        _ => count.to_string(),
    }
}
