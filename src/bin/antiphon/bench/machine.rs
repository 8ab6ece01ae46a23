//! What was measured on: for people, and to tell two reports apart.

use std::process::Command;

pub struct Machine {
    pub processor: String,
    pub system: String,
    pub processors: usize,
}

impl Machine {
    pub fn ask() -> Self {
        Machine {
            processor: processor().unwrap_or_else(|| format!("unknown {} processor", std::env::consts::ARCH)),
            system: said(Command::new("uname").args(["-s", "-r", "-m"]))
                .unwrap_or_else(|| format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
            processors: std::thread::available_parallelism().map_or(1, |n| n.get()),
        }
    }
}

fn processor() -> Option<String> {
    if let Ok(info) = std::fs::read_to_string("/proc/cpuinfo") {
        let line = info.lines().find(|line| line.starts_with("model name"))?;
        return Some(line.split_once(':')?.1.trim().to_owned());
    }
    said(Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]))
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
