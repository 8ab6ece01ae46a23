//! What the driver tells an end, and what the end answers: one line each, the same for every contestant.
//!
//! ```text
//! ready PID VERSION                      an end, once, when it stands
//! PLAY BYTES WARM COUNT PROCESSOR KEEP   the driver: go to that processor, do WARM items, then COUNT by the clock; keep
//!                                        the buffers (1), or give those back that are large (0)
//! took NANOSECONDS                       an end: it is done, and sleeps again; what counts is what the first end says
//! failed REASON                          an end, before it ends
//! ```

use crate::Failure;
use crate::scenario::Play;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub play: Play,
    pub bytes: usize,
    pub warm: u64,
    pub count: u64,
    pub processor: usize,
    pub keep: bool,
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Order { play, bytes, warm, count, processor, keep } = self;
        write!(f, "{} {bytes} {warm} {count} {processor} {}", play.word(), u8::from(*keep))
    }
}

impl std::str::FromStr for Order {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Self, Failure> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [play, bytes, warm, count, processor, keep] = words[..] else {
            return Err(format!("an order that makes no sense: {line}").into());
        };
        let play = Play::ALL.into_iter().find(|known| known.word() == play);
        Ok(Order {
            play: play.ok_or_else(|| format!("an order for something unknown: {line}"))?,
            bytes: bytes.parse()?,
            warm: warm.parse()?,
            count: count.parse()?,
            processor: processor.parse()?,
            keep: keep == "1",
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Ready { pid: u32, version: String },
    Took(u64),
    Failed(String),
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Answer::Ready { pid, version } => write!(f, "ready {pid} {version}"),
            Answer::Took(nanos) => write!(f, "took {nanos}"),
            Answer::Failed(reason) => write!(f, "failed {}", reason.replace('\n', " ")),
        }
    }
}

impl std::str::FromStr for Answer {
    type Err = Failure;

    fn from_str(line: &str) -> Result<Self, Failure> {
        let (word, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        match word {
            "ready" => {
                let (pid, version) = rest.split_once(' ').unwrap_or((rest, ""));
                let words: Vec<&str> = version.split_whitespace().collect();
                Ok(Answer::Ready { pid: pid.parse()?, version: words.join(" ") })
            }
            "took" => Ok(Answer::Took(rest.parse()?)),
            "failed" => Ok(Answer::Failed(rest.to_owned())),
            _ => Err(format!("an answer that makes no sense: {line}").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_the_wire() {
        for play in Play::ALL {
            let order = Order { play, bytes: 1 << 30, warm: 0, count: 17, processor: 1, keep: play == Play::OneWay };
            assert_eq!(order.to_string().parse::<Order>().unwrap(), order);
        }
    }

    #[test]
    fn an_answer_survives_the_wire_on_one_line() {
        let ready = Answer::Ready { pid: 4711, version: "MPICH 4.0.2".into() };
        for answer in [ready, Answer::Took(12), Answer::Failed("no such thing".into())] {
            assert_eq!(format!("{answer}\n").parse::<Answer>().unwrap(), answer);
        }
        assert_eq!(Answer::Failed("two\nlines".into()).to_string(), "failed two lines");
    }

    #[test]
    fn nonsense_is_refused() {
        assert!("round-trip 8 1".parse::<Order>().is_err());
        assert!("dance 8 1 1 0 0".parse::<Order>().is_err());
        assert!("round-trip 8 1 -1 0 0".parse::<Order>().is_err());
        assert!("perhaps".parse::<Answer>().is_err());
        assert!("took long".parse::<Answer>().is_err());
    }
}
