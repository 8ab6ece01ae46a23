//! Judges the bars by one or several runs: the ratio of two medians within each run and class, and of the runs'
//! ratios the middle one. A run with too few samples says nothing about a bar; nor does one without a contestant that
//! the bar speaks of, except that the bar is missed already by those who were there.

use crate::bars::{Against, BARS, Bar};
use crate::contestants::{self, Standing};
use crate::league::{League, Row};
use crate::limits::is_limit;
use crate::scenario::{self, Play, Scenario, size_name};

/// So many runs have to say something about a bar, if so many were made.
const RUNS: usize = 3;

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// With the runs' ratios, the least first.
    Met(Vec<f64>),
    Missed(Vec<f64>),
    NotJudged(Why),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// Another run may say more.
    TooFew(String),
    /// No run on this machine says more.
    Missing(String),
}

/// What all bars came to.
#[derive(Debug, Default)]
pub struct Judgement {
    pub lines: Vec<String>,
    pub missed: usize,
    /// Neither met nor missed for want of samples.
    pub undecided: usize,
}

pub fn judge(leagues: &[League]) -> Judgement {
    let mut judgement = Judgement::default();
    for bar in &BARS {
        let verdicts: Vec<(&str, Verdict)> =
            classes(bar).iter().map(|class| (*class, judge_one(bar, class, leagues))).collect();
        let is_any = |wanted: fn(&Verdict) -> bool| verdicts.iter().any(|(_, verdict)| wanted(verdict));
        if is_any(|verdict| matches!(verdict, Verdict::Missed(_))) {
            judgement.missed += 1;
        } else if !is_any(|verdict| matches!(verdict, Verdict::Met(_) | Verdict::NotJudged(Why::Missing(_)))) {
            judgement.undecided += 1;
        }
        for (class, verdict) in &verdicts {
            judgement.lines.push(format!("{} {class:9} {bar}{}", word(verdict), detail(bar, verdict)));
        }
    }
    judgement
}

fn scenario_of(bar: &Bar) -> &'static Scenario {
    let of = |(_, scenario): &(_, &Scenario)| scenario.name == bar.scenario && scenario.bytes == bar.size;
    scenario::all().find(of).map(|(_, scenario)| scenario).expect("a test has looked that each bar has its scenario")
}

fn classes(bar: &Bar) -> &'static [&'static str] {
    if scenario_of(bar).play == Play::OneCore { &["same-core"] } else { &["near", "far"] }
}

fn judge_one(bar: &Bar, class: &str, leagues: &[League]) -> Verdict {
    let mut ratios = Vec::new();
    let mut why = Why::TooFew("no run".to_owned());
    for league in leagues {
        match ratio(bar, class, league) {
            Ok(ratio) => ratios.push(ratio),
            Err(reason) => why = reason,
        }
    }
    let wanted = RUNS.min(leagues.len());
    if ratios.is_empty() || ratios.len() < wanted {
        return Verdict::NotJudged(match why {
            Why::TooFew(what) if !ratios.is_empty() => {
                Why::TooFew(format!("{what} and {} of {wanted} runs are steady enough", ratios.len()))
            }
            why => why,
        });
    }
    ratios.sort_by(f64::total_cmp);
    if bar.is_met_by(middle(bar, &ratios)) { Verdict::Met(ratios) } else { Verdict::Missed(ratios) }
}

/// Of two middle ones that which is worse for us.
fn middle(bar: &Bar, ratios: &[f64]) -> f64 {
    ratios[if bar.is_at_most() { ratios.len() / 2 } else { (ratios.len() - 1) / 2 }]
}

impl Bar {
    fn is_at_most(&self) -> bool {
        scenario_of(self).unit.is_better_when_less()
    }

    fn is_met_by(&self, ratio: f64) -> bool {
        if self.is_at_most() { ratio <= self.ratio } else { ratio >= self.ratio }
    }
}

/// Our median as so many times the other's, in one run and one class.
fn ratio(bar: &Bar, class: &str, league: &League) -> Result<f64, Why> {
    let ours = enough(bar.scenario, bar.size, bar.ours, class, league)?;
    let (mut others, mut absent) = (Vec::new(), None);
    for (scenario, size, name) in rivals(bar, league) {
        match enough(&scenario, size, &name, class, league) {
            Ok(row) => others.push(row.median),
            Err(why) => absent = Some(why),
        }
    }
    others.sort_by(f64::total_cmp);
    let best = if bar.is_at_most() { others.first() } else { others.last() };
    let Some(best) = best else {
        return Err(absent.unwrap_or_else(|| Why::TooFew("no samples of whom it is compared with".to_owned())));
    };
    let ratio = ours.median / best;
    match absent {
        // Who is not there could only make it worse.
        Some(why) if bar.is_met_by(ratio) => Err(why),
        _ => Ok(ratio),
    }
}

/// Whom the bar compares with: scenario, size and contestant.
fn rivals(bar: &Bar, league: &League) -> Vec<(String, usize, String)> {
    let here = |name: &str| (bar.scenario.to_owned(), bar.size, name.to_owned());
    match bar.against {
        Against::Limit => {
            let of = |row: &&Row| row.scenario == bar.scenario && row.size == bar.size && is_limit(&row.contestant);
            let mut names: Vec<_> = league.rows.iter().filter(of).map(|row| here(&row.contestant)).collect();
            names.dedup();
            names
        }
        Against::BestPeer => {
            let all = contestants::all().into_iter();
            let peers = all.filter(|one| one.standing() == Standing::Peer && one.plays(scenario_of(bar)));
            peers.map(|one| here(one.name())).collect()
        }
        Against::BestOf(names) => names.iter().map(|name| here(name)).collect(),
        Against::Ours { contestant, scenario, size } => vec![(scenario.to_owned(), size, contestant.to_owned())],
    }
}

/// The row, if it has so many samples that its median says something.
fn enough<'l>(scenario: &str, size: usize, name: &str, class: &str, league: &'l League) -> Result<&'l Row, Why> {
    if let Some(missing) = league.missing.iter().find(|missing| missing.contestant == name) {
        return Err(Why::Missing(format!("{name} is missing: {}", missing.reason)));
    }
    let known = scenario::all().find(|(_, known)| known.name == scenario && known.bytes == size);
    let enough = known.map_or(usize::MAX, |(_, known)| known.enough);
    match league.row(scenario, size, name, class) {
        Some(row) if row.samples >= enough => Ok(row),
        row => {
            let samples = row.map_or(0, |row| row.samples);
            Err(Why::TooFew(format!("{samples} {class} samples of {name}, and {enough} say something")))
        }
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Met(_) => "MET       ",
        Verdict::Missed(_) => "MISSED    ",
        Verdict::NotJudged(_) => "NOT JUDGED",
    }
}

fn detail(bar: &Bar, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Met(ratios) | Verdict::Missed(ratios) => {
            let runs: Vec<String> = ratios.iter().map(|ratio| digits(*ratio)).collect();
            format!(": {} (runs: {})", digits(middle(bar, ratios)), runs.join(" "))
        }
        Verdict::NotJudged(Why::TooFew(what) | Why::Missing(what)) => format!(" ({what})"),
    }
}

/// Three that mean something.
fn digits(ratio: f64) -> String {
    if ratio < 0.01 { format!("{ratio:.5}") } else { format!("{ratio:.3}") }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Bar { scenario, size, ours, ratio, .. } = self;
        let at = if self.is_at_most() { "<=" } else { ">=" };
        write!(f, "{scenario} {}: {ours} {at} {ratio} x ", size_name(*size))?;
        match self.against {
            Against::Limit => f.write_str("the limit"),
            Against::BestPeer => f.write_str("the best peer"),
            Against::BestOf(names) => f.write_str(&names.join(" or ")),
            Against::Ours { contestant, scenario, size } => {
                write!(f, "{contestant} in {scenario} {}", size_name(size))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::league::Missing;

    const AT_MOST: Bar = Bar {
        scenario: "round trip",
        size: 64,
        ours: "antiphon, Spin",
        against: Against::BestOf(&["Open MPI"]),
        ratio: 0.5,
    };
    const AT_LEAST: Bar = Bar {
        scenario: "one way",
        size: 4 << 20,
        ours: "antiphon, Adaptive",
        against: Against::BestPeer,
        ratio: 1.0,
    };

    fn row(bar: &Bar, contestant: &str, median: f64, samples: usize, class: &str) -> Row {
        Row {
            scenario: bar.scenario.into(),
            contestant: contestant.into(),
            size: bar.size,
            unit: String::new(),
            median,
            min: median,
            max: median,
            samples,
            discarded: 0,
            class: class.into(),
        }
    }

    fn round_trips(ours: f64, theirs: f64, samples: usize) -> League {
        let rows = vec![
            row(&AT_MOST, "antiphon, Spin", ours, samples, "near"),
            row(&AT_MOST, "Open MPI", theirs, samples, "near"),
        ];
        League { rows, ..League::default() }
    }

    /// Every peer of the scenario at 10, but for ours and `fast`.
    fn one_way(ours: f64, fast: (&str, f64)) -> League {
        let mut rows = vec![row(&AT_LEAST, AT_LEAST.ours, ours, 10, "near")];
        for (_, _, name) in rivals(&AT_LEAST, &League::default()) {
            let median = if name == fast.0 { fast.1 } else { 10.0 };
            rows.push(row(&AT_LEAST, &name, median, 10, "near"));
        }
        League { rows, ..League::default() }
    }

    #[test]
    fn every_bar_has_its_scenario_and_names_contestants_that_play_it() {
        let all = contestants::all();
        for bar in &BARS {
            let scenario = scenario_of(bar);
            let plays =
                |name: &str| is_limit(name) || all.iter().any(|one| one.name() == name && one.plays(scenario));
            assert!(plays(bar.ours), "{bar}");
            if let Against::BestOf(names) = bar.against {
                names.iter().for_each(|name| assert!(plays(name), "{bar}: {name}"));
            }
            if let Against::Ours { scenario, size, .. } = bar.against {
                let of = |(_, known): (_, &Scenario)| known.name == scenario && known.bytes == size;
                assert!(scenario::all().any(of), "{bar}");
            }
        }
    }

    #[test]
    fn a_time_is_met_at_the_bar_and_missed_above_it() {
        assert_eq!(judge_one(&AT_MOST, "near", &[round_trips(50.0, 100.0, 10)]), Verdict::Met(vec![0.5]));
        assert_eq!(judge_one(&AT_MOST, "near", &[round_trips(51.0, 100.0, 10)]), Verdict::Missed(vec![0.51]));
    }

    #[test]
    fn a_rate_is_met_at_the_bar_and_missed_below_it() {
        assert_eq!(judge_one(&AT_LEAST, "near", &[one_way(20.0, ("MPICH", 20.0))]), Verdict::Met(vec![1.0]));
        assert_eq!(judge_one(&AT_LEAST, "near", &[one_way(19.0, ("MPICH", 20.0))]), Verdict::Missed(vec![0.95]));
    }

    #[test]
    fn too_few_samples_or_samples_of_another_class_judge_nothing() {
        let few = judge_one(&AT_MOST, "near", &[round_trips(10.0, 100.0, 9)]);
        assert!(matches!(few, Verdict::NotJudged(Why::TooFew(_))), "{few:?}");
        let other = judge_one(&AT_MOST, "far", &[round_trips(10.0, 100.0, 60)]);
        assert!(matches!(other, Verdict::NotJudged(Why::TooFew(_))), "{other:?}");
    }

    #[test]
    fn the_middle_run_judges_and_of_two_the_worse() {
        let run = |ours| round_trips(ours, 100.0, 10);
        let three = judge_one(&AT_MOST, "near", &[run(90.0), run(40.0), run(45.0)]);
        assert_eq!(three, Verdict::Met(vec![0.4, 0.45, 0.9]));
        let two = judge_one(&AT_MOST, "near", &[run(40.0), run(60.0)]);
        assert_eq!(two, Verdict::Missed(vec![0.4, 0.6]));
        let rate = |ours| one_way(ours, ("MPICH", 20.0));
        let two = judge_one(&AT_LEAST, "near", &[rate(30.0), rate(10.0)]);
        assert_eq!(two, Verdict::Missed(vec![0.5, 1.5]));
    }

    #[test]
    fn a_disturbed_run_does_not_stand_for_a_steady_one() {
        let steady = round_trips(40.0, 100.0, 10);
        let disturbed = round_trips(40.0, 100.0, 3);
        let verdict = judge_one(&AT_MOST, "near", &[steady.clone(), disturbed.clone(), steady.clone()]);
        assert!(matches!(verdict, Verdict::NotJudged(Why::TooFew(_))), "{verdict:?}");
        let verdict = judge_one(&AT_MOST, "near", &[steady.clone(), disturbed, steady.clone(), steady]);
        assert!(matches!(verdict, Verdict::Met(_)), "{verdict:?}");
    }

    #[test]
    fn a_bar_is_not_met_without_the_rival_that_is_missing_but_can_be_missed() {
        let without = |ours| {
            let mut league = one_way(ours, ("MPICH", 20.0));
            league.rows.retain(|row| row.contestant != "Open MPI");
            league.missing.push(Missing { contestant: "Open MPI".into(), reason: "not installed".into() });
            league
        };
        let verdict = judge_one(&AT_LEAST, "near", &[without(30.0)]);
        assert!(
            matches!(&verdict, Verdict::NotJudged(Why::Missing(what)) if what.contains("not installed")),
            "{verdict:?}"
        );
        assert_eq!(judge_one(&AT_LEAST, "near", &[without(10.0)]), Verdict::Missed(vec![0.5]));
    }

    #[test]
    fn a_bar_that_one_class_misses_is_missed_whatever_the_other_says() {
        let mut league = round_trips(40.0, 100.0, 10);
        league.rows.push(row(&AT_MOST, "antiphon, Spin", 80.0, 10, "far"));
        league.rows.push(row(&AT_MOST, "Open MPI", 100.0, 10, "far"));
        let judgement = judge(&[league]);
        assert_eq!(judgement.missed, 1);
        // All others have no samples at all.
        assert_eq!(judgement.undecided, BARS.len() - 1);
        let about: Vec<_> = judgement.lines.iter().filter(|line| line.contains("0.5 x Open MPI")).collect();
        assert!(about[0].starts_with("MET        near"), "{about:?}");
        assert!(about[1].starts_with("MISSED     far"), "{about:?}");
    }

    #[test]
    fn the_limit_is_the_fastest_of_the_bare_ways() {
        let bar = Bar { against: Against::Limit, ratio: 1.4, ..AT_MOST };
        let rows = vec![
            row(&bar, bar.ours, 130.0, 10, "near"),
            row(&bar, "bare: same line", 100.0, 10, "near"),
            row(&bar, "bare: a line each way", 80.0, 10, "near"),
        ];
        let verdict = judge_one(&bar, "near", &[League { rows, ..League::default() }]);
        assert_eq!(verdict, Verdict::Missed(vec![1.625]));
    }
}
