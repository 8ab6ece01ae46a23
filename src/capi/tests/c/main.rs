//! C programs, compiled as a user would compile them, alone and beside Rust peers.
//!
//! `ANTIPHON_C=all` compiles with every compiler there is, in both languages, with AddressSanitizer and under valgrind;
//! otherwise it is `cc` and C99 alone. What is missing on this machine is said to be NOT RUN.
#![allow(missing_docs)]

mod alone;
mod hostile;
mod kill;
mod support;
