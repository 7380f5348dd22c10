//! The engine as a client of a real broker.

use crate::support::broker::{self, Broker, save_house};
use crate::support::{Engine, engine, load, root, until};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A pipeline with one source, whose block this is.
fn place(folder: &Path, source: &str) -> PathBuf {
    let file = folder.join("house.kdl");
    save(&file, source);
    file
}

fn save(file: &Path, source: &str) {
    save_house(file, &format!("source mqtt home {{\n{source}\n}}"));
}

/// What the store of a running engine has.
fn stored(data: &Path) -> Connection {
    load::open(data)
}

fn count(data: &Path) -> u64 {
    load::number(&stored(data), "SELECT count(*) FROM events")
}

/// What is wrong with the source: code and reason.
fn problems(engine: &Engine) -> Vec<(String, String)> {
    broker::problems(engine, "home")
}

fn connects(broker: &Broker) -> usize {
    broker.log().matches("New client connected").count()
}

#[test]
fn what_is_sent_on_a_topic_is_an_event() {
    let Some(broker) = Broker::start("an event from a topic") else { return };
    let folder = tempfile::tempdir().unwrap();
    for protocol in ["v5", "v3.1.1"] {
        let source = format!(
            "url \"{}\"\nprotocol {protocol}\ntopic \"frigate/events\" qos=1\n\
             topic \"zigbee/+device/state\" qos=2\n\
             map {{\ntype \"mqtt.topic_parts[0]\"\nsubject \"mqtt.params.device ?? mqtt.topic\"\n}}",
            broker.url()
        );
        let data = folder.path().join(protocol);
        let mut engine = Engine::start(&place(folder.path(), &source), &data, &[]);
        until("it has subscribed", || broker.log().matches("Sending SUBACK").count() >= 1);
        broker.publish("frigate/events", br#"{"camera":"door"}"#, &["-q", "1"]);
        broker.publish("zigbee/lamp/state", br#"{"on":true}"#, &["-q", "2"]);
        broker.publish_nothing("zigbee/lamp/state");
        broker.publish("zigbee/lamp/state", b"\xff\xfe\x00ON", &["-q", "1"]);
        broker.publish("other", b"{}", &["-q", "1"]);
        until("all came", || count(&data) == 3);
        let list = engine.get("/api/events");
        let all = list["events"].as_array().unwrap().iter().rev();
        let seen: Vec<Value> =
            all.map(|it| json!([it["type"], it["subject"], it["data"]])).collect();
        let expected = [
            json!(["frigate", "frigate/events", { "camera": "door" }]),
            json!(["zigbee", "lamp", { "on": true }]),
            json!(["zigbee", "lamp", null]),
        ];
        assert_eq!(seen, expected);
        until("the binary one is a dead letter", || {
            engine.get("/api/dead-letters")["dead_letters"].as_array().unwrap().len() == 1
        });
        let letter = engine.get("/api/dead-letters")["dead_letters"][0].clone();
        assert!(letter["reason"].as_str().unwrap().starts_with("not JSON"), "{letter}");
        assert_eq!(letter["context"]["mqtt"]["topic"], "zigbee/lamp/state");
        assert_eq!(engine.stop(), 0);
    }
}

#[test]
fn what_comes_while_the_engine_is_away_waits_at_the_broker() {
    let Some(mut broker) = Broker::start("a persistent session") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (
        place(
            folder.path(),
            &format!("url \"{}\"\ntopic \"a/+\"\nmap {{ type \"'a'\" }}", broker.url()),
        ),
        folder.path().join("data"),
    );
    let mut engine = Engine::start(&file, &data, &[]);
    until("it has subscribed", || broker.log().contains("Sending SUBACK"));
    assert_eq!(engine.stop(), 0);
    broker.publish("a/1", b"1", &["-q", "1"]);
    broker.end();
    broker.begin();
    broker.publish("a/2", b"2", &["-q", "1"]);
    let engine = Engine::start(&file, &data, &[]);
    until("both came", || count(&data) == 2);
    assert_eq!(broker.log().matches("Received SUBSCRIBE").count(), 1, "the session has it");
    // The broker is away for a moment.
    broker.end();
    until("it is said", || problems(&engine).iter().any(|problem| problem.0 == "disconnected"));
    broker.begin();
    until("it is over", || problems(&engine).is_empty());
    broker.publish("a/3", b"3", &["-q", "1"]);
    until("it goes on", || count(&data) == 3);
    let failed = engine.wait_for("source home failed");
    assert!(failed.contains("closed the connection"), "{failed}");
    engine.wait_for("source home recovered");
}

#[test]
fn a_broker_that_lost_the_session_is_told_of() {
    let Some(mut broker) = Broker::start("a lost session") else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = format!("url \"{}\"\ntopic a\nmap {{ type \"'a'\" }}", broker.url());
    let data = folder.path().join("data");
    let engine = Engine::start(&place(folder.path(), &source), &data, &[]);
    until("it has subscribed", || broker.log().contains("Sending SUBACK"));
    broker.end();
    std::fs::remove_file(broker.folder().join("mosquitto.db")).unwrap();
    broker.begin();
    until("it is said", || problems(&engine).iter().any(|problem| problem.0 == "session-lost"));
    until("it has subscribed again", || broker.log().matches("Sending SUBACK").count() == 2);
    broker.publish("a", b"1", &["-q", "1"]);
    until("it goes on", || count(&data) == 1);
}

#[test]
fn a_reload_keeps_the_connection_unless_its_settings_change() {
    let Some(broker) = Broker::start("a reload of a source") else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = |topics: &str, kind: &str| {
        format!("url \"{}\"\n{topics}\nmap {{ type \"'{kind}'\" }}", broker.url())
    };
    let (file, data) =
        (place(folder.path(), &source("topic a", "one")), folder.path().join("data"));
    let engine = Engine::start(&file, &data, &["--watch", "off"]);
    until("it has subscribed", || broker.log().contains("Sending SUBACK"));
    let reload = |source: &str, generation: u64| {
        save(&file, source);
        engine.signal(nix::sys::signal::Signal::SIGHUP);
        until("it is reloaded", || engine.get("/readyz")["generation"] == generation);
    };
    reload(&source("topic a", "two"), 2);
    broker.publish("a", b"1", &["-q", "1"]);
    until("it came", || count(&data) == 1);
    let engines = || broker.log().matches("as engine-house-home").count();
    assert_eq!(engines(), 1, "the connection is kept");
    assert_eq!(engine.get("/api/events")["events"][0]["type"], "two");
    reload(&source("topic b", "three"), 3);
    until("the new topic is subscribed", || broker.log().matches("Sending SUBACK").count() == 2);
    until("the old one is not", || broker.log().contains("Sending UNSUBACK"));
    broker.publish("a", b"2", &["-q", "1"]);
    broker.publish("b", b"3", &["-q", "1"]);
    until("only the new one came", || count(&data) == 2);
    assert_eq!(engine.get("/api/events")["events"][0]["data"], 3);
    assert!(engines() == 2 && 2 < connects(&broker));
}

#[test]
fn a_refused_topic_is_told_of_and_the_others_work() {
    let Some(broker) = Broker::with("a refused topic", rules) else { return };
    let folder = tempfile::tempdir().unwrap();
    for protocol in ["v5", "v3.1.1"] {
        let source = format!(
            "url \"{}\"\nprotocol {protocol}\ntopic closed\ntopic open\nmap {{ type \"'a'\" }}",
            broker.url()
        );
        let data = folder.path().join(protocol);
        let mut engine = Engine::start(&place(folder.path(), &source), &data, &[]);
        until("it is said", || !problems(&engine).is_empty());
        let (code, reason) = problems(&engine).remove(0);
        assert_eq!(code, "subscription-refused");
        assert!(reason.starts_with("the broker refused the topic `closed`: "), "{reason}");
        broker.publish("open", b"1", &["-q", "1"]);
        until("the other one works", || count(&data) == 1);
        assert_eq!(engine.stop(), 0);
    }
}

/// Anybody may send, and read nothing but `open`.
fn rules(folder: &Path) -> String {
    let rules = json!({
        "defaultACLAccess": {
            "publishClientSend": true, "publishClientReceive": true,
            "subscribe": false, "unsubscribe": true,
        },
        "groups": [{ "groupname": "all", "roles": [{ "rolename": "reader" }] }],
        "roles": [{
            "rolename": "reader",
            "acls": [{ "acltype": "subscribeLiteral", "topic": "open", "allow": true }],
        }],
        "anonymousGroup": "all",
    });
    let file = folder.join("rules.json");
    std::fs::write(&file, rules.to_string()).expect("it can be written");
    let plugins = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    let plugin =
        plugins.iter().map(|plugin| Path::new(plugin).join("mosquitto_dynamic_security.so"));
    let plugin = plugin.into_iter().find(|it| it.exists()).expect("mosquitto has its plugin");
    let (plugin, file) = (plugin.display(), file.display());
    format!("allow_anonymous true\nplugin {plugin}\nplugin_opt_config_file {file}")
}

/// Sets the password of the user `home`.
fn set_password(folder: &Path, password: &str) -> PathBuf {
    let file = folder.join("users");
    let made = std::process::Command::new("mosquitto_passwd")
        .args(["-b", "-c", file.to_str().expect("a name"), "home", password])
        .status();
    assert!(made.expect("it is there").success());
    file
}

#[test]
fn a_wrong_password_is_called_so_everywhere_until_it_is_right() {
    let users = |folder: &Path| {
        let file = set_password(folder, "s3cret");
        format!("allow_anonymous false\npassword_file {}", file.display())
    };
    let Some(broker) = Broker::with("a password", users) else { return };
    let folder = tempfile::tempdir().unwrap();
    for protocol in ["v5", "v3.1.1"] {
        set_password(broker.folder(), "s3cret");
        broker.read_again();
        let source = format!(
            "url \"{}\"\nprotocol {protocol}\nusername home\npassword \"wr0ng-for-now\"\n\
             client-id \"{protocol}\"\ntopic a\nmap {{ type \"'a'\" }}",
            broker.url(),
        );
        let data = folder.path().join(protocol);
        let mut engine = Engine::start(&place(folder.path(), &source), &data, &[]);
        // The line of the log may come before the one that says it is ready.
        until("it is said", || !problems(&engine).is_empty());
        let failed = problems(&engine).remove(0).1;
        let words = match protocol {
            "v5" => "it refused this client: user name, password or client id are not allowed",
            _ => "it refused",
        };
        assert!(failed.contains(words) && failed.contains(&broker.url()), "{failed}");
        let metrics = || String::from_utf8(engine.ask("GET", "/metrics", b"").1).expect("text");
        let health = |level: u8| {
            let line = format!("engine_health{{role=\"source\",name=\"home\"}} {level}");
            metrics().lines().any(|it| it == line)
        };
        assert!(health(2), "{}", metrics());
        // Somebody corrects it at the broker.
        set_password(broker.folder(), "wr0ng-for-now");
        broker.read_again();
        let ready = format!("Sending SUBACK to {protocol}");
        until("it has subscribed", || broker.log().contains(&ready));
        until("all is well", || problems(&engine).is_empty());
        assert!(health(0), "{}", metrics());
        broker.publish("a", b"1", &["-q", "1", "-u", "home", "-P", "wr0ng-for-now"]);
        until("it works", || count(&data) == 1);
        assert_eq!(engine.stop(), 0);
        let log: Vec<String> = engine.lines.try_iter().collect();
        let said = |text: &str| log.iter().any(|line| line.contains(text));
        assert!(said("source home recovered"), "{log:#?}");
        assert!(!format!("{failed}{log:?}").contains("wr0ng"), "it shows no password");
    }
}

#[test]
fn a_password_that_is_refused_later_is_said_in_the_log() {
    let users = |folder: &Path| {
        let file = set_password(folder, "s3cret");
        format!("allow_anonymous false\npassword_file {}", file.display())
    };
    let Some(mut broker) = Broker::with("a password", users) else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = format!(
        "url \"{}\"\nusername home\npassword \"s3cret\"\ntopic a\nmap {{ type \"'a'\" }}",
        broker.url(),
    );
    let data = folder.path().join("data");
    let mut engine = Engine::start(&place(folder.path(), &source), &data, &[]);
    until("it has subscribed", || broker.log().contains("Sending SUBACK"));
    broker.end();
    let has = |code: &str| problems(&engine).iter().any(|problem| problem.0 == code);
    until("it is disconnected", || has("disconnected"));
    set_password(broker.folder(), "0ther");
    broker.begin();
    until("it is refused", || has("unauthorized"));
    assert!(!has("disconnected"));
    let line = engine.wait_for("are not allowed");
    assert!(line.contains("source home"), "{line}");
    set_password(broker.folder(), "s3cret");
    broker.read_again();
    until("all is well", || problems(&engine).is_empty());
    assert_eq!(engine.stop(), 0);
}

#[test]
fn a_test_needs_no_broker() {
    let folder = tempfile::tempdir().unwrap();
    let source = "url (env)\"MQTT_URL\"\ntopic \"zigbee/+device/state\"\n\
                  decode text\nmap { type \"'state'\"; subject \"mqtt.params.device\"; data \"data\" }";
    let file = place(folder.path(), source);
    let test = |given: &str| {
        let text = format!(
            "test \"a state\" {{\n    env MQTT_URL=\"mqtt://nowhere.invalid\"\n    {given}\n    \
             expect event=state where=\"event.subject == 'lamp' && data == 'ON'\"\n}}\n"
        );
        std::fs::write(folder.path().join("house.test.kdl"), text).unwrap();
        engine(folder.path(), &["test", file.to_str().unwrap()], "")
    };
    let good = test("given source=home topic=\"zigbee/lamp/state\" { body \"ON\" }");
    assert_eq!(good.code, 0, "{}{}", good.output, good.error);
    for (given, said) in [
        ("given source=home topic=\"zigbee/lamp\" { body \"ON\" }", "matches `zigbee/lamp`"),
        ("given source=home { body \"ON\" }", "which topic does it come on?"),
    ] {
        let answer = test(given);
        let text = format!("{}{}", answer.output, answer.error);
        assert!(answer.code != 0 && text.contains(said), "{text}");
    }
}

#[test]
fn what_the_broker_had_kept_is_left_out_where_the_file_says_so() {
    let Some(broker) = Broker::start("retained messages") else { return };
    let folder = tempfile::tempdir().unwrap();
    for protocol in ["v5", "v3.1.1"] {
        broker.publish("new/a", b"1", &["-q", "1", "-r"]);
        broker.publish("all/a", b"2", &["-q", "1", "-r"]);
        let source = format!(
            "url \"{}\"\nprotocol {protocol}\nclient-id \"{protocol}\"\n\
             topic \"new/#\" retained=ignore\ntopic \"all/#\"\n\
             map {{\ntype \"mqtt.retain ? 'kept' : 'fresh'\"\n}}",
            broker.url()
        );
        let data = folder.path().join(protocol);
        let mut engine = Engine::start(&place(folder.path(), &source), &data, &[]);
        until("what was kept came", || count(&data) == 1);
        broker.publish("new/a", b"3", &["-q", "1", "-r"]);
        until("what is new came", || count(&data) == 2);
        let list = engine.get("/api/events");
        let all = list["events"].as_array().unwrap().iter().rev();
        let seen: Vec<Value> = all.map(|it| json!([it["type"], it["data"]])).collect();
        assert_eq!(seen, [json!(["kept", 2]), json!(["fresh", 3])], "{protocol}");
        assert_eq!(engine.stop(), 0);
    }
}

#[test]
fn two_engines_of_a_group_share_its_messages() {
    let Some(broker) = Broker::start("a shared subscription") else { return };
    let folder = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        let source = format!(
            "url \"{}\"\nclient-id \"{name}\"\ntopic \"$share/engines/jobs/+kind\"\n\
             map {{ type \"'job'\"; subject \"mqtt.params.kind\" }}",
            broker.url()
        );
        let file = folder.path().join(format!("{name}.kdl"));
        save(&file, &source);
        let data = folder.path().join(name);
        let engine = Engine::start(&file, &data, &[]);
        let ready = format!("Sending SUBACK to {name}");
        until("it has subscribed", || broker.log().contains(&ready));
        (engine, data)
    };
    let (mut one, mut other) = (start("one"), start("other"));
    broker.publish_lines("jobs/print", (0..100).map(|it| it.to_string()));
    let counts = || (count(&one.1), count(&other.1));
    until("each message came to one of them", || counts().0 + counts().1 == 100);
    assert!(0 < counts().0 && 0 < counts().1, "{:?}", counts());
    let subject = "SELECT count(*) FROM events WHERE subject = 'print'";
    let of_both = [&one.1, &other.1].map(|it| load::number(&stored(it), subject));
    assert_eq!(of_both[0] + of_both[1], 100);
    assert_eq!((one.0.stop(), other.0.stop()), (0, 0));
}

/// A certificate of the tests for clients, with its key.
fn client(name: &str) -> String {
    root().join("tests/fixtures/clients").join(name).display().to_string()
}

#[test]
fn a_broker_that_wants_a_certificate_says_what_is_wrong_with_ours() {
    let wants = |folder: &Path| {
        let testing = root().join("engine/wire/src/testing");
        std::fs::copy(testing.join("authority.pem"), folder.join("ca.pem")).expect("copied");
        let (chain, clients) = (testing.join("localhost.pem"), client("authority.pem"));
        format!(
            "allow_anonymous true\ncertfile {0}\nkeyfile {0}\ncafile {clients}\n\
             require_certificate true\nuse_identity_as_username true",
            chain.display()
        )
    };
    let Some(broker) = Broker::with("certificates of clients", wants) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(broker.folder().join("ca.pem"), folder.path().join("ca.pem")).unwrap();
    let source = |protocol: &str, own: &str| {
        format!(
            "url \"mqtts://localhost:{}\"\nprotocol {protocol}\ntls ca=\"ca.pem\" {own}\n\
             topic a\nmap {{ type \"'a'\" }}",
            broker.port
        )
    };
    let identity = |name: &str| {
        let file = client(name);
        format!("cert=\"{file}\" key=(file)\"{file}\"")
    };
    for (round, protocol) in ["v5", "v3.1.1"].into_iter().enumerate() {
        let file = place(folder.path(), &source(protocol, ""));
        let data = folder.path().join(protocol);
        let mut engine = Engine::start(&file, &data, &["--watch", "off"]);
        for (own, words) in [
            (String::new(), "the server requires a certificate of the client"),
            (identity("expired.pem"), "the server says that the client's certificate has expired"),
            (
                identity("other.pem"),
                "the server does not know the authority of the client's certificate",
            ),
        ] {
            save(&file, &source(protocol, &own));
            engine.signal(nix::sys::signal::Signal::SIGHUP);
            until(words, || problems(&engine).iter().any(|problem| problem.1.contains(words)));
        }
        let text = std::fs::read_to_string(client("other.pem")).unwrap();
        let key = text.lines().rev().nth(1).expect("a line of the key").to_owned();
        assert!(!engine.get("/readyz").to_string().contains(&key), "no key is shown");
        save(&file, &source(protocol, &identity("right.pem")));
        engine.signal(nix::sys::signal::Signal::SIGHUP);
        let ready = "Sending SUBACK to engine-house-home";
        until("it has subscribed", || broker.log().matches(ready).count() == round + 1);
        until("all is well", || problems(&engine).is_empty());
        assert_eq!(engine.stop(), 0);
    }
}
