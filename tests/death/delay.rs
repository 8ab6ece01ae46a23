//! How soon the survivor knows.

use antiphon::Wait;
use std::time::Duration;

/// Prints the least, the middle and the greatest delay for each `Wait`.
pub fn tell(what: &str, delays: &[(Wait, Duration)]) {
    let mut line = what.to_owned();
    for wait in [Wait::Spin, Wait::Park, Wait::Adaptive] {
        let mut own: Vec<Duration> = delays.iter().filter(|d| d.0 == wait).map(|d| d.1).collect();
        own.sort_unstable();
        if let (Some(least), Some(most)) = (own.first(), own.last()) {
            let ms = |time: &Duration| time.as_secs_f64() * 1e3;
            let middle = ms(&own[own.len() / 2]);
            line += &format!("; {wait:?} {:.1}/{middle:.1}/{:.1} ms", ms(least), ms(most));
        }
    }
    println!("{line}");
}
