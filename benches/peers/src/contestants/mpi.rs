//! The MPIs, each with a program of its own (`mpi/exchange.c`), compiled and started by what Debian calls the two that
//! can be installed side by side.

use super::{Contestant, End, Standing};
use crate::Failure;
use crate::scenario::{Play, Scenario};
use crate::wires::Side;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Debug, Clone, Copy)]
pub struct Mpi {
    name: &'static str,
    /// What Debian appends to `mpicc` and `mpirun`.
    suffix: &'static str,
    arguments: &'static [&'static str],
    /// Differs from another one in how it moves large messages alone.
    is_for_large: bool,
}

pub const ALL: [Mpi; 3] = [
    Mpi {
        name: "Open MPI",
        suffix: "openmpi",
        arguments: &["--allow-run-as-root", "--bind-to", "none"],
        is_for_large: false,
    },
    Mpi {
        name: "Open MPI, no single copy",
        suffix: "openmpi",
        arguments: &["--allow-run-as-root", "--bind-to", "none", "--mca", "btl_vader_single_copy_mechanism", "none"],
        is_for_large: true,
    },
    Mpi { name: "MPICH", suffix: "mpich", arguments: &["-bind-to", "none"], is_for_large: false },
];

const SOURCE: &str = include_str!("../../mpi/exchange.c");

impl Mpi {
    fn tool(&self, tool: &str) -> String {
        format!("{tool}.{}", self.suffix)
    }

    /// Compiled beside this program, by whatever version is installed now.
    fn compile(&self) -> Result<PathBuf, Failure> {
        let here = std::env::current_exe()?;
        let program = here.with_file_name(format!("exchange-{}", self.suffix));
        let compiler = self.tool("mpicc");
        let mut child = Command::new(&compiler)
            .args(["-O2", "-Wall", "-Werror", "-x", "c", "-", "-o"])
            .arg(&program)
            .stdin(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(SOURCE.as_bytes())?;
        }
        match child.wait()?.success() {
            true => Ok(program),
            false => Err(format!("{compiler} does not compile mpi/exchange.c").into()),
        }
    }
}

impl Contestant for Mpi {
    fn name(&self) -> &'static str {
        self.name
    }

    fn standing(&self) -> Standing {
        Standing::Peer
    }

    fn missing(&self) -> Option<String> {
        let tools = [self.tool("mpicc"), self.tool("mpirun")];
        let missing: Vec<&str> = tools.iter().map(String::as_str).filter(|tool| !is_installed(tool)).collect();
        match missing[..] {
            [] => None,
            _ => Some(format!("there is no {} (ci/peers-setup installs it on a Debian)", missing.join(", no "))),
        }
    }

    fn plays(&self, scenario: &Scenario) -> bool {
        match scenario.play {
            Play::RoundTrip | Play::OneWay => !self.is_for_large || scenario.bytes > 4096,
            Play::OneCore => !self.is_for_large,
            // Its ends do not sleep.
            Play::Asleep | Play::Loan | Play::Fresh | Play::HandOver | Play::LargeBlocks | Play::SmallBlocks => false,
        }
    }

    fn program(&self, folder: &Path) -> Result<Option<Command>, Failure> {
        let program = self.compile()?;
        let mut command = Command::new(self.tool("mpirun"));
        command.args(self.arguments).args(["-np", "2"]).arg(program).arg(folder);
        Ok(Some(command))
    }

    fn end(&self, _side: Side, _folder: &Path) -> Result<Box<dyn End>, Failure> {
        Err(format!("{} is a program of its own", self.name).into())
    }
}

fn is_installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).exists())
}
