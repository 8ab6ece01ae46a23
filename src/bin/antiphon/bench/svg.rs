//! Just enough of SVG: shapes by the name of their colour, text, and the two kinds of axis.
//!
//! Colours are classes, so that one picture is right on a light page and on a dark one.

use std::fmt::Write;

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;font-size:12px;fill:#1f2933}\
.small{font-size:10.5px}.page{fill:#ffffff}.soft{fill:#52606d}.title{font-size:18px;font-weight:bold}.head{font-size:14px;font-weight:bold}\
.ours{fill:#c2410c}.limit{fill:#7b8794}.area{fill:#f4c7ae}\
.grid{stroke:#e4e7eb;stroke-width:1}.axis{stroke:#9aa5b1;stroke-width:1}\
.ours-line{stroke:#c2410c;stroke-width:2;fill:none}.limit-line{stroke:#7b8794;stroke-width:2;fill:none}\
.mark{stroke:#52606d;stroke-width:1;stroke-dasharray:3 3}.hollow{fill:#ffffff;stroke:#c2410c;stroke-width:2}\
@media (prefers-color-scheme:dark){\
text{fill:#e4e7eb}.page{fill:#14181d}.soft{fill:#a9b4c0}.ours{fill:#fb8c4e}.limit{fill:#8a97a6}.area{fill:#5a3320}\
.grid{stroke:#2a313a}.axis{stroke:#5c6873}.ours-line{stroke:#fb8c4e}.limit-line{stroke:#8a97a6}\
.mark{stroke:#a9b4c0}.hollow{fill:#14181d;stroke:#fb8c4e}}";

/// A picture that grows.
pub struct Svg {
    body: String,
}

/// Which end of a text stands where it is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub fn new() -> Self {
        Svg { body: String::new() }
    }

    pub fn finish(self, width: f64, height: f64, title: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n{}</svg>\n",
            escaped(title),
            self.body
        )
    }

    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.push(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>"
        ));
    }

    pub fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str) {
        self.push(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"{class}\"/>"
        ));
    }

    pub fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        self.push(&format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"));
    }

    pub fn dot(&mut self, (x, y): (f64, f64), class: &str) {
        self.push(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" class=\"{class}\"/>"));
    }

    /// A line through all points; with `class` of a fill, the area that they enclose.
    pub fn path(&mut self, points: &[(f64, f64)], class: &str) {
        let mut path = String::new();
        for (x, y) in points {
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
        }
        self.push(&format!("<path d=\"{path}\" class=\"{class}\"/>"));
    }

    fn push(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Where values stand between two places.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub values: (f64, f64),
    pub places: (f64, f64),
    /// By the logarithm.
    pub is_log: bool,
}

impl Scale {
    pub fn at(&self, value: f64) -> f64 {
        let Scale { values: (low, high), places: (from, to), is_log } = *self;
        let share = if is_log { (value / low).ln() / (high / low).ln() } else { (value - low) / (high - low) };
        from + share * (to - from)
    }
}

/// A round number at or above `value` that four or five steps lead to, and the step.
pub fn round_up(value: f64) -> (f64, f64) {
    let magnitude = 10f64.powf((value / 4.0).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * magnitude);
    let step = steps.into_iter().find(|step| *step * 5.0 >= value).unwrap_or(10.0 * magnitude);
    ((value / step).ceil() * step, step)
}

/// The powers of ten that hold these values.
pub fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
    (10f64.powf(low.log10().floor()), 10f64.powf(high.log10().ceil()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(round_up(48.8), (50.0, 10.0));
        assert_eq!(round_up(85.2), (100.0, 20.0));
        assert_eq!(round_up(4.3), (5.0, 1.0));
        assert_eq!(decades([59.0, 191_000.0].into_iter()), (10.0, 1e6));
    }

    #[test]
    fn a_scale_puts_its_ends_where_they_belong() {
        let log = Scale { values: (10.0, 1000.0), places: (300.0, 100.0), is_log: true };
        assert!((log.at(10.0) - 300.0).abs() < 1e-9 && (log.at(100.0) - 200.0).abs() < 1e-9);
        let linear = Scale { is_log: false, ..log };
        assert!((linear.at(505.0) - 200.0).abs() < 1e-9);
    }

    #[test]
    fn text_cannot_break_the_picture() {
        let mut svg = Svg::new();
        svg.text((0.0, 0.0), Anchor::Start, "soft", "a < b & c > d");
        assert!(svg.finish(1.0, 1.0, "<t>").contains("a &lt; b &amp; c &gt; d</text>"));
    }
}
