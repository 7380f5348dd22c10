//! Jobs that people really do: `tests/jobs/NN-name/pipeline.kdl`, each with the tests that prove its
//! sentence in the same file.

use crate::support::{engine, root};

/// Every job, so that none goes missing.
const JOBS: &[&str] = &[
    "01-frigate-tracked-object",
    "03-frigate-zones-labels-hours",
    "04-frigate-what-changed",
    "06-frigate-face-greeting",
    "07-frigate-plates",
    "09-doorbell-snapshot-button",
    "10-doorbell-home-or-away",
    "12-door-left-open",
    "14-low-battery-digest",
    "15-leak-alert",
    "17-freezer-hysteresis",
    "19-zigbee-availability",
    "20-sample-every-5s",
    "22-ttn-base64",
    "24-owntracks-geofence",
    "25-shelly-get-query",
    "26-motion-at-night",
    "28-strangers-fan-out",
    "29-mqtt-states-for-home-assistant",
    "30-github-push-deploy",
    "32-gitea-hmac",
    "33-travis-form",
    "35-slack-slash",
    "38-alertmanager-routes",
    "39-alertmanager-grouping",
    "41-heartbeat-two-downs",
    "43-ssh-login-alert",
    "47-logfmt-app-log",
    "49-multiline-stack",
    "51-dedupe-and-filter",
    "52-enrichment-workflow",
    "54-poll-releases",
    "55-suspicious-ip",
    "58-gdpr-strip",
    "59-n8n-if-slack",
];

/// The pipelines of all jobs, from the project's folder.
fn pipelines() -> Vec<String> {
    JOBS.iter().map(|job| format!("tests/jobs/{job}/pipeline.kdl")).collect()
}

#[test]
fn every_folder_is_a_job_of_the_list() {
    let folders = std::fs::read_dir(root().join("tests/jobs")).expect("the jobs are there");
    let mut names: Vec<String> = folders
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, JOBS);
}

#[test]
fn every_job_is_checked_without_a_finding() {
    for file in pipelines() {
        let arguments = [
            "check",
            &file,
            "--allow-missing-env",
            "--allow-exec",
            "--deny",
            "warnings",
            "--quiet",
        ];
        let answer = engine(&root(), &arguments, "");
        assert_eq!((answer.output.as_str(), answer.error.as_str(), answer.code), ("", "", 0));
    }
}

#[test]
fn every_job_does_what_its_tests_say() {
    for file in pipelines() {
        let answer = engine(&root(), &["test", &file], "");
        assert_eq!(answer.code, 0, "{file}:\n{}{}", answer.output, answer.error);
        assert!(answer.output.contains(": all ok"), "{file}:\n{}", answer.output);
    }
}

#[test]
fn every_job_is_in_our_layout() {
    let answer = engine(&root(), &["fmt", "--check", "tests/jobs"], "");
    assert_eq!((answer.output.as_str(), answer.error.as_str(), answer.code), ("", "", 0));
}
