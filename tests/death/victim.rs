//! How a process comes to die at a step: it watches its own steps, and kills itself.

use crate::support::{Peer, hear, say};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

type Hook = Box<dyn FnMut(&'static str)>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    static SEEN: RefCell<BTreeMap<&'static str, u32>> = const { RefCell::new(BTreeMap::new()) };
}

/// From now on, `hook` is told of every step that this thread comes to.
pub fn on_step(hook: impl FnMut(&'static str) + 'static) {
    antiphon::steps::watch(|step| {
        let _ = HOOK.try_with(|hook| {
            if let Some(hook) = hook.borrow_mut().as_mut() {
                hook(step);
            }
        });
    });
    HOOK.set(Some(Box::new(hook)));
}

/// Nobody is told any more.
pub fn ignore_steps() {
    HOOK.set(None);
}

/// What a victim is to do: die at the `nth` reaching of a step, stop there, or tell its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    Rehearse,
    Die { step: String, nth: u32 },
    Stop { step: String },
}

impl Plan {
    pub fn to_word(&self) -> String {
        match self {
            Plan::Rehearse => "rehearse".to_owned(),
            Plan::Die { step, nth } => format!("die {step} {nth}"),
            Plan::Stop { step } => format!("stop {step}"),
        }
    }

    fn from_word(word: &str) -> Plan {
        let words: Vec<&str> = word.split(' ').collect();
        match words[..] {
            ["die", step, nth] => Plan::Die { step: step.to_owned(), nth: nth.parse().unwrap() },
            ["stop", step] => Plan::Stop { step: step.to_owned() },
            _ => Plan::Rehearse,
        }
    }
}

/// In a victim: does from now on what the plan says.
pub fn follow(plan: &str) {
    let plan = Plan::from_word(plan);
    on_step(move |here| {
        let count = SEEN.with_borrow_mut(|seen| {
            let count = seen.entry(here).or_default();
            *count += 1;
            *count
        });
        match &plan {
            Plan::Die { step, nth } if step == here && *nth == count => raise(libc::SIGKILL),
            Plan::Die { step, .. } if step == "sleep:woken" && here == "sleep:armed" => {
                say("armed"); // Somebody may want to know when to wake it.
            }
            Plan::Stop { step } if step == here && count == 1 => raise(libc::SIGSTOP),
            _ => {}
        }
    });
}

/// In a victim that is still there: the plan is over. Tells the steps that it came by.
pub fn tell_steps() {
    ignore_steps();
    let steps: Vec<String> =
        SEEN.with_borrow(|seen| seen.iter().map(|(step, count)| format!("{step} {count}")).collect());
    say(format_args!("steps {}", steps.join(" ")));
}

/// To this very thread, so that it goes no further: a signal to the process may go to another one.
fn raise(signal: i32) {
    // SAFETY: a plain system call on this thread.
    unsafe { libc::raise(signal) };
}

/// In a victim: says that it is ready, and waits for the word to begin.
pub fn ready() {
    say("ready");
    assert_eq!(hear(), "go");
}

/// What a rehearsal told: each step, and how often it was reached.
pub fn steps_told(words: &[String]) -> Vec<(String, u32)> {
    let told = words.iter().find_map(|word| word.strip_prefix("steps ")).expect("a rehearsal");
    let words: Vec<&str> = told.split(' ').filter(|word| !word.is_empty()).collect();
    words.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].parse().unwrap())).collect()
}

/// Where to die: at every step that was reached, the first time, and once more further on.
pub fn deaths(rehearsed: &[(String, u32)]) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (step, count) in rehearsed {
        plans.push(Plan::Die { step: step.clone(), nth: 1 });
        if *count > 1 {
            plans.push(Plan::Die { step: step.clone(), nth: count / 2 + 1 });
        }
    }
    plans
}

/// What became of a victim.
pub struct End {
    pub was_killed: bool,
    /// Soon after its files were closed.
    pub at: Instant,
    /// All that it said and nobody heard yet.
    pub words: Vec<String>,
}

/// Waits until the child is stopped (true) or has ended.
pub fn is_stopped(pid: u32) -> bool {
    // SAFETY: a `siginfo_t` is plain data.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let what = libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT;
    // SAFETY: waits for a child of this process, and leaves it to be waited for.
    let done = unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, what) };
    assert_eq!(done, 0);
    info.si_code == libc::CLD_STOPPED
}

/// Waits for the end of a victim, which is a good one or by SIGKILL.
pub fn outlive(mut victim: Peer) -> End {
    let status = victim.wait();
    let at = Instant::now();
    let was_killed = status.signal() == Some(libc::SIGKILL);
    assert!(was_killed || status.success(), "the victim ended with {status}");
    let words = std::iter::from_fn(|| victim.heard()).collect();
    End { was_killed, at, words }
}
