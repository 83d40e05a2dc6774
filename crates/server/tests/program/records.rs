//! `produce` and `consume`: what goes in comes out, in every format, from and to every place.

use crate::harness::{Broker, siltstone, siltstone_ok, siltstone_with_input};

async fn produce(bootstrap: &str, arguments: &[&str], input: &str) {
    let arguments = [&["produce"], arguments, &["--bootstrap", bootstrap]].concat();
    let output = siltstone_with_input(&arguments, input).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

async fn consume(bootstrap: &str, arguments: &[&str]) -> String {
    siltstone_ok(&[&["consume"], arguments, &["--bootstrap", bootstrap]].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_choose_what_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]).await;
    let bootstrap = broker.bootstrap.as_str();
    let lines: Vec<_> =
        (0..10).map(|number| format!(r#"{{"value":"{number}","timestamp":{}}}"#, 1_700_000_000_000_i64 + number * 1000)).collect();
    produce(bootstrap, &["ten", "--format", "json"], &(lines.join("\n") + "\n")).await;
    for (arguments, expected) in [
        (&[][..], "0123456789"),
        (&["--from", "7"], "789"),
        (&["--offset", "7"], "789"),
        (&["--from", "-2"], "89"),
        (&["--from", "-100"], "0123456789"),
        (&["--from", "end"], ""),
        (&["--until", "3"], "012"),
        (&["--until", "-3"], "0123456"),
        (&["--until", "1000"], "0123456789"),
        (&["--from", "4", "--until", "2"], ""),
        (&["--from", "4", "--until", "6"], "45"),
        (&["--from", "5", "--max-records", "2"], "56"),
        (&["--max", "2"], "01"),
        (&["--max", "0"], ""),
        (&["--follow", "--max", "3"], "012"),
        (&["--from", "@1700000008000"], "89"),
        (&["--from", "@2023-11-14T22:13:28.500Z"], "9"),
        (&["--until", "@2023-11-14T22:13:22Z"], "01"),
        (&["--from", "@2200-01-01T00:00:00Z"], ""),
    ] {
        let read = consume(bootstrap, &[&["ten"], arguments].concat()).await;
        assert_eq!(read.replace('\n', ""), expected, "{arguments:?}");
    }
    let output = siltstone(&["consume", "ten", "--from", "11", "--bootstrap", bootstrap]).await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("ten-0 has offsets from 0 to 10, not 11"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_headers_nulls_and_formats_go_in_and_come_out() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]).await;
    let bootstrap = broker.bootstrap.as_str();
    let header = ["--header", "source=test", "--header", "empty="];
    produce(bootstrap, &[&["kv", "--key-separator", ":", "--null", "NULL"], &header[..]].concat(), "a:1\nb:NULL\nplain\n").await;
    let shown = consume(bootstrap, &["kv", "--keys", "--headers", "--null", "-", "--key-separator", "="]).await;
    assert_eq!(shown, "source=test,empty=\ta=1\nsource=test,empty=\tb=-\nsource=test,empty=\t-=plain\n");
    assert_eq!(consume(bootstrap, &["kv", "--long"]).await, "0\t0\ta\t1\n0\t1\tb\t\n0\t2\t\tplain\n");
    assert_eq!(consume(bootstrap, &["kv", "--partitions", "--offsets", "--from", "2"]).await, "0\t2\tplain\n");
    let template = r"%t/%p/%o %k(%K) %s(%S) 100%%\n";
    assert_eq!(consume(bootstrap, &["kv", "--format", template, "--max", "2"]).await, "kv/0/0 a(1) 1(1) 100%\nkv/0/1 b(1) (-1) 100%\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_carries_any_bytes_from_topic_to_topic() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(&directory.path().join("data"), &[]).await;
    let bootstrap = broker.bootstrap.as_str();
    // Two files, the first without an end of line: its last line is a record of its own.
    let files = [("one", &b"\xff\xfe\x00raw"[..]), ("two", "t\u{e4}xt\n\n".as_bytes())].map(|(name, bytes)| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    });
    siltstone_ok(&["produce", "raw", &files[0], &files[1], "--compression", "lz4", "--bootstrap", bootstrap]).await;
    let output = siltstone(&["consume", "raw", "--bootstrap", bootstrap]).await;
    assert_eq!(output.stdout, b"\xff\xfe\x00raw\nt\xc3\xa4xt\n\n", "text writes bytes as they are");

    let lines = consume(bootstrap, &["raw", "--format", "json"]).await;
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((first["value_base64"].as_str(), first["offset"].as_i64()), (Some("//4AcmF3"), Some(0)), "{lines}");
    produce(bootstrap, &["copy", "--format", "json"], &lines).await;
    let copied = consume(bootstrap, &["copy", "--format", "json"]).await;
    assert_eq!(copied.replace("\"copy\"", "\"raw\""), lines, "values, timestamps and all");

    let output =
        siltstone_with_input(&["produce", "copy", "--format", "json", "--bootstrap", bootstrap], "{\"value\":\"x\"}\n{\"val\":1}\n").await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("line 2: unknown field `val`"), "{stderr}");
}

#[tokio::test]
async fn wrong_use_is_one_line_and_status_2() {
    for (arguments, expected) in [
        (&["consume", "t", "--from", "yesterday"][..], "must be beginning, end, an offset, -N"),
        (&["consume", "t", "--format", "jsno"], "must be text, json, or a format string"),
        (&["consume", "t", "--format", "json", "--keys"], "leave out --format"),
        (&["consume", "t", "--follow", "--until", "5"], "cannot be used with"),
        (&["produce", "t", "--acks", "2"], "possible values: 0, 1, all, -1"),
        (&["produce", "t", "--compression", "rar"], "possible values: none, gzip"),
        (&["produce", "t", "--header", "x"], "write --header KEY=VALUE"),
        (&["produce", "t", "--format", "json", "--null", "x"], "say how text is read"),
        (&["topic", "create", "t", "--config", "x"], "write --config KEY=VALUE"),
        (&["topic", "alter", "t"], "nothing to change"),
        (&["topic", "elect", "t", "0"], "--unclean"),
        (&["consum", "t"], "consume"),
    ] {
        let output = siltstone(arguments).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected) && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(directory.path(), &[]).await;
    let (kafka, metadata) = (broker.bootstrap.as_str(), broker.metadata.as_str());
    let nowhere = "127.0.0.1:1";
    for (arguments, expected) in [
        (&["consume", "none", "--bootstrap", kafka][..], "topic 'none' does not exist; `siltstone topic list`"),
        (&["topic", "describe", "none", "--bootstrap", kafka], "topic 'none' does not exist; `siltstone topic list`"),
        (&["topic", "alter", "none", "--partitions", "2", "--bootstrap", kafka], "topic 'none' does not exist; `siltstone topic list`"),
        (&["topic", "delete", "none", "--bootstrap", kafka], "topic 'none' does not exist; `siltstone topic list`"),
        (&["segment", "list", "none", "--metadata", metadata], "topic 'none' does not exist; `siltstone topic list`"),
        (&["consume", "none", "--bootstrap", nowhere], "start one with `siltstone serve`, or name it with --bootstrap"),
        (&["store", "check", "--metadata", "http://127.0.0.1:1"], "start a broker with `siltstone serve`, or name it with --metadata"),
        (&["store", "check", "--metadata", metadata, "--data-dir", "/nonexistent"], "name it with --store"),
        (&["segment", "dump", "nonsense"], "neither a file nor an object's key"),
        (&["produce", "t", "/nonexistent", "--bootstrap", kafka], "open /nonexistent"),
        (&["wal", "dump", "--data-dir", "/nonexistent"], "/nonexistent"),
    ] {
        let output = siltstone(arguments).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected) && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
}
