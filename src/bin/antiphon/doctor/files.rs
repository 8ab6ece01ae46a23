//! The system's files, below a root that a test may choose.

use std::path::{Path, PathBuf};

pub struct Files(PathBuf);

impl Files {
    pub fn of_this_machine() -> Files {
        Files(PathBuf::from("/"))
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// What is in a file, without spaces around it. `None` where it cannot be read.
    pub fn read(&self, path: &str) -> Option<String> {
        // The system's own may hold bytes of anybody's.
        let bytes = std::fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    pub fn is_there(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The names in a directory, sorted.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(path)).into_iter().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The options of what is mounted at `point`, with its kind before them; `proc_pid_mounts(5)`. The last one covers
    /// those before.
    pub fn mount(&self, point: &str) -> Option<Vec<String>> {
        let mounts = self.read("/proc/self/mounts")?;
        let mut found = None;
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            if let (Some(at), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) {
                if at == point {
                    found = Some([kind].into_iter().chain(options.split(',')).map(str::to_owned).collect());
                }
            }
        }
        found
    }

    /// A field of `/proc/self/status`.
    pub fn status(&self, field: &str) -> Option<String> {
        let status = self.read("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }
}

impl AsRef<Path> for Files {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
pub mod made_up {
    use super::Files;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    /// Files of a machine that there is not.
    pub struct MadeUp(pub Files);

    impl MadeUp {
        pub fn new(files: &[(&str, &str)]) -> MadeUp {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let stem = format!("antiphon-doctor-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
            let made_up = MadeUp(Files(std::env::temp_dir().join(stem)));
            std::fs::create_dir(&made_up.0).unwrap();
            for (path, text) in files {
                let path = made_up.0.path(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            made_up
        }
    }

    impl Drop for MadeUp {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
