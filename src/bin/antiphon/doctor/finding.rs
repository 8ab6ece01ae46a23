//! One thing that was looked at: how bad it is, the figure, what it means, what to do.

use crate::style::Tone;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    /// Worth knowing; or not visible.
    Note,
    /// It works, and worse than it could, or not for long.
    Warning,
    /// Something does not work.
    Problem,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Problem => "problem",
        }
    }

    pub fn tone(self) -> Tone {
        match self {
            Level::Ok => Tone::Good,
            Level::Note => Tone::Note,
            Level::Warning => Tone::Warning,
            Level::Problem => Tone::Problem,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub topic: &'static str,
    pub level: Level,
    pub figure: String,
    pub meaning: String,
    pub advice: String,
    pub commands: Vec<String>,
}

impl Finding {
    fn new(topic: &'static str, level: Level, figure: impl Into<String>) -> Self {
        let (meaning, advice, commands) = Default::default();
        Finding { topic, level, figure: figure.into(), meaning, advice, commands }
    }

    pub fn ok(topic: &'static str, figure: impl Into<String>) -> Self {
        Self::new(topic, Level::Ok, figure)
    }

    pub fn note(topic: &'static str, figure: impl Into<String>) -> Self {
        Self::new(topic, Level::Note, figure)
    }

    pub fn warning(topic: &'static str, figure: impl Into<String>) -> Self {
        Self::new(topic, Level::Warning, figure)
    }

    pub fn problem(topic: &'static str, figure: impl Into<String>) -> Self {
        Self::new(topic, Level::Problem, figure)
    }

    /// What could not be looked at, and why.
    pub fn hidden(topic: &'static str, why: impl Into<String>) -> Self {
        Self::note(topic, "not visible").means(why)
    }

    pub fn means(mut self, meaning: impl Into<String>) -> Self {
        self.meaning = meaning.into();
        self
    }

    /// What to do, and the commands that do it.
    pub fn advise(mut self, advice: impl Into<String>, commands: &[&str]) -> Self {
        self.advice = advice.into();
        self.commands = commands.iter().map(|command| (*command).to_owned()).collect();
        self
    }
}
