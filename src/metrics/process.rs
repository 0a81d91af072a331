//! What the kernel says about this process, read from /proc at each scrape. What cannot be read,
//! on another system or in a stricter sandbox, is left out.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

use super::families::{self, Family, Kind};

/// Ticks of /proc's times in a second: fixed in the kernel's interface (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) struct ProcessCollector {
    descs: Vec<Desc>,
    start_time: Option<f64>,
}

const FAMILIES: [Family; 5] = [
    families::CPU_SECONDS,
    families::RESIDENT_MEMORY,
    families::OPEN_FDS,
    families::MAX_FDS,
    families::START_TIME,
];

impl ProcessCollector {
    pub(super) fn new() -> Self {
        let desc = |family: Family| {
            Desc::new(family.name.to_owned(), family.help.to_owned(), vec![], Default::default())
                .expect("names of the table are valid")
        };
        Self { descs: FAMILIES.map(desc).to_vec(), start_time: start_time() }
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stat = fs::read_to_string("/proc/self/stat").ok();
        let stat = stat.as_deref();
        let values = [
            stat.and_then(cpu_seconds),
            resident_bytes(),
            fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as f64),
            max_fds(),
            self.start_time,
        ];
        FAMILIES
            .iter()
            .zip(values)
            .filter_map(|(family, value)| Some(one(family, value?)))
            .collect()
    }
}

fn one(family: &Family, value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    let kind = if family.kind == Kind::Counter {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
        MetricType::COUNTER
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
        MetricType::GAUGE
    };
    let mut shown = MetricFamily::default();
    shown.set_name(family.name.to_owned());
    shown.set_help(family.help.to_owned());
    shown.set_field_type(kind);
    shown.set_metric(vec![metric]);
    shown
}

/// A field of /proc/PID/stat by its number in proc_pid_stat(5), from 3 on: the second is the
/// command's name in parentheses, and may hold anything.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}

/// utime and stime.
fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((stat_field(stat, 14)? + stat_field(stat, 15)?) / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The system's boot, plus the ticks from it to our start.
fn start_time() -> Option<f64> {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 =
        system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    Some(boot + stat_field(&stat, 22)? / TICKS_PER_SECOND)
}
