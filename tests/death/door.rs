pub const STEPS: &[&[&str]] = &[];
