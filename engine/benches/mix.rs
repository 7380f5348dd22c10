//! Made-up events.

use crate::unix_seconds;
use std::fmt::Write as _;

/// Events as the doorbell's components send them, about 320 bytes each.
pub(crate) struct Mix(fastrand::Rng, f64);

impl Mix {
    pub(crate) fn new() -> Self {
        Mix(fastrand::Rng::with_seed(42), unix_seconds())
    }

    pub(crate) fn next(&mut self, n: usize) -> String {
        let random = &mut self.0;
        let (kind, source, priority, data) = match random.u8(0..100) {
            0..50 => ("MOTION_DETECTED", "motion_detector", "LOW", motion(random)),
            50..80 => faces(random),
            80..95 => {
                let data = format!(r#"{{"channel":18,"press_duration":0.{}}}"#, random.u8(10..99));
                ("DOORBELL_PRESSED", "gpio_handler", "HIGH", data)
            }
            _ => {
                let data = r#"{"component":"camera_0","status":"degraded","metrics":{"cpu_percent":41.7,"fps":9.6}}"#;
                ("HEALTH_CHECK", "orchestrator", "NORMAL", data.to_owned())
            }
        };
        event(n, self.1 - 60.0 + n as f64 / 1e3 % 60.0, kind, source, priority, &data)
    }
}

pub(crate) fn event(
    n: usize,
    time: f64,
    kind: &str,
    source: &str,
    priority: &str,
    data: &str,
) -> String {
    format!(
        r#"{{"event_id":"6f0c2f0a-5d1e-4a57-9a39-{n:012x}","event_type":"{kind}","timestamp":{time:.3},"source":"{source}","priority":"{priority}","correlation_id":"visit-{}","parent_event_id":null,"data":{data}}}"#,
        n / 7
    )
}

fn motion(random: &mut fastrand::Rng) -> String {
    format!(
        r#"{{"motion_score":{}.5,"frame_id":"f-{}","motion_regions":[{{"x":{},"y":{},"width":148,"height":311,"confidence":0.71}}]}}"#,
        random.u8(5..95),
        random.u32(10_000..99_999),
        random.u16(..1200),
        random.u16(..500)
    )
}

fn faces(random: &mut fastrand::Rng) -> (&'static str, &'static str, &'static str, String) {
    let count = random.usize(1..=3);
    let mut list = String::new();
    for n in 0..count {
        let who = ["ines", "jonas", "maria", "tomasz"][random.usize(..4)];
        let comma = if n == 0 { "" } else { "," };
        let score = random.u16(800..990);
        write!(
            list,
            r#"{comma}{{"status":"known","identity":"{who}","similarity_score":0.{score}}}"#
        )
        .expect("writing to a String cannot fail");
    }
    let data = format!(
        r#"{{"recognition_count":{count},"known_count":{count},"unknown_count":0,"blacklisted_count":0,"recognition_time":0.184,"recognitions":[{list}]}}"#
    );
    ("FACE_RECOGNIZED", "face_recognizer", "NORMAL", data)
}
