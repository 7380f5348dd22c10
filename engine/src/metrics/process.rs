//! What the operating system says about this process, under the names that Prometheus' client
//! libraries agree on. Where the system does not say it, nothing is written.

use super::text::MetricsText;
use std::fs;

/// Clock ticks a second of `/proc/PID/stat`: Linux fixes it for user space (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Writes memory, processor time, descriptors and threads.
pub fn write(text: &mut MetricsText) {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse)
    {
        let seconds = (stat.user + stat.system) / TICKS;
        text.counter("process_cpu_seconds_total", "User and system time", seconds);
        text.gauge("process_threads", "Threads", stat.threads);
        if let Some(boot) = boot_time() {
            let start = boot + stat.start / TICKS;
            text.gauge("process_start_time_seconds", "Start, in Unix seconds", start);
        }
    }
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        for (name, field, help) in [
            ("process_resident_memory_bytes", "VmRSS:", "Memory in RAM"),
            ("process_virtual_memory_bytes", "VmSize:", "Address space"),
        ] {
            if let Some(kibibytes) = number_of(&status, field) {
                text.gauge(name, help, kibibytes * 1024.0);
            }
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.gauge("process_open_fds", "Open descriptors", open.count() as f64);
    }
    if let Ok(limits) = fs::read_to_string("/proc/self/limits")
        && let Some(most) = number_of(&limits, "Max open files")
    {
        text.gauge("process_max_fds", "Maximum number of open file descriptors", most);
    }
}

struct Stat {
    user: f64,
    system: f64,
    threads: f64,
    /// After the boot, in ticks.
    start: f64,
}

impl Stat {
    /// Fields 14, 15, 20 and 22 of proc_pid_stat(5); the name of the process, which may hold
    /// anything, ends with the last parenthesis.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Stat { user: field(14)?, system: field(15)?, threads: field(20)?, start: field(22)? })
    }
}

/// When the machine started, in Unix seconds.
fn boot_time() -> Option<f64> {
    number_of(&fs::read_to_string("/proc/stat").ok()?, "btime")
}

/// The first number on the line that begins with `field`.
fn number_of(text: &str, field: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 12345 1 2 3";
        let stat = Stat::parse(stat).expect("it parses");
        assert_eq!((stat.user, stat.system, stat.threads, stat.start), (250.0, 50.0, 9.0, 12345.0));
        assert!(Stat::parse("7 (a").is_none());
    }

    #[test]
    fn limits_and_sizes_are_read_by_their_field() {
        let limits = "Limit    Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n";
        assert_eq!(number_of(limits, "Max open files"), Some(1024.0));
        assert_eq!(number_of("VmRSS:\t  2048 kB\n", "VmRSS:"), Some(2048.0));
        assert_eq!(number_of("", "VmRSS:"), None);
    }
}
