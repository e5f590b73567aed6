//! The command line against servers of every kind: what it sends, what it shows, and what it makes
//! of answers that no ledger would give. The servers here are strangers with prepared answers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use clap::Parser;
use serde_json::json;
use token_ledger::cli::console::Console;
use token_ledger::cli::error::CliError;
use token_ledger::cli::profile::{ADMIN_URL, CLIENT_ID, CLIENT_SECRET, PUBLIC_URL};
use token_ledger::cli::remote::ANSWER_BYTES_MAX;
use token_ledger::cli::remote_error::RemoteError;
use token_ledger::cli::{Cli, report, run};

/// What came: the request line, the headers as they were, the body.
struct Request {
    line: String,
    head: String,
    body: String,
}

/// A server that gives its answers in turn, one for each request, and then is gone.
struct Stranger {
    url: String,
    thread: JoinHandle<Vec<Request>>,
}

impl Stranger {
    fn with(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let answered = answers.into_iter().map(|answer| {
                let (stream, _) = listener.accept().unwrap();
                answer_one(stream, &answer)
            });
            answered.collect()
        });
        Self { url, thread }
    }

    /// What came so far. Answers that nobody asked for go to nobody, so that a test which expects
    /// too many of them fails instead of waiting.
    fn requests(self) -> Vec<Request> {
        let address = self.url.trim_start_matches("http://");
        while !self.thread.is_finished() {
            let _ = TcpStream::connect(address);
        }
        let mut requests = self.thread.join().unwrap();
        requests.retain(|request| !request.line.is_empty());
        requests
    }
}

fn answer_one(stream: TcpStream, answer: &str) -> Request {
    let mut reader = BufReader::new(&stream);
    let (mut line, mut head, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut line).unwrap();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&header);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    // Who was told enough may hang up before the end.
    if let Err(error) = (&stream).write_all(answer.as_bytes()) {
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
    }
    Request { line: line.trim().to_owned(), head, body: String::from_utf8(body).unwrap() }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

fn token() -> String {
    http(
        "200 OK",
        "",
        r#"{"access_token":"tla_good","token_type":"Bearer","scope":"ledger:admin"}"#,
    )
}

struct Ran {
    result: Result<(), CliError>,
    out: String,
    notes: String,
    requests: Vec<Request>,
}

impl Ran {
    fn told(&self) -> String {
        let mut told = Vec::new();
        report(self.result.as_ref().unwrap_err(), &mut told);
        String::from_utf8(told).unwrap()
    }
}

/// A writer whose reader went away.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn run_into(
    out: &mut dyn Write,
    line: &str,
    input: &str,
    answers: Vec<String>,
) -> (Result<(), CliError>, String, Vec<Request>) {
    let stranger = Stranger::with(answers);
    let variables = BTreeMap::from([
        (PUBLIC_URL, format!("{}/base/", stranger.url)),
        (ADMIN_URL, stranger.url.clone()),
        (CLIENT_ID, "a:b".to_owned()),
        (CLIENT_SECRET, "s ecret+".to_owned()),
    ]);
    let mut notes = Vec::new();
    let mut console = Console {
        out,
        notes: &mut notes,
        input: &mut Cursor::new(input),
        input_is_terminal: false,
        variable: &|name| variables.get(name).cloned(),
    };
    let args = std::iter::once("token-ledger").chain(line.split(' '));
    let result = run(Cli::try_parse_from(args).unwrap(), &mut console);
    (result, String::from_utf8(notes).unwrap(), stranger.requests())
}

fn ran(line: &str, input: &str, answers: Vec<String>) -> Ran {
    let mut out = Vec::new();
    let (result, notes, requests) = run_into(&mut out, line, input, answers);
    Ran { result, out: String::from_utf8(out).unwrap(), notes, requests }
}

#[test]
fn c2_the_client_form_encodes_its_credentials_and_asks_as_the_bearer_of_a_token() {
    let ran = ran("client list", "", vec![token(), http("200 OK", "", r#"{"clients":[]}"#)]);
    ran.result.unwrap();
    let [login, list] = &ran.requests[..] else { panic!("{} requests", ran.requests.len()) };
    assert_eq!(login.line, "POST /base/oauth/token HTTP/1.1");
    assert_eq!(login.body, "grant_type=client_credentials");
    // base64 of a%3Ab:s+ecret%2B
    assert!(login.head.contains("Basic YSUzQWI6cytlY3JldCUyQg=="), "{}", login.head);
    assert_eq!(list.line, "GET /admin/clients HTTP/1.1");
    assert!(list.head.contains("Bearer tla_good"), "{}", list.head);
    assert_eq!(ran.out, "");
    assert!(ran.notes.starts_with("no clients; "), "{}", ran.notes);
}

#[test]
fn what_the_server_says_in_text_is_json_where_a_program_asked_for_it() {
    for (line, text, json) in [
        ("keys vkey", "a+1+k\nb+2+k\n", r#"{"vkeys":["a+1+k","b+2+k"]}"#),
        ("audit checkpoint", "a\n1\n", r#"{"checkpoint":"a\n1\n"}"#),
        ("audit receipt --seq 3", "c2sp\n", r#"{"receipt":"c2sp\n"}"#),
    ] {
        let answers = || vec![token(), http("200 OK", "", text)];
        assert_eq!(ran(line, "", answers()).out, text);
        assert_eq!(ran(&format!("{line} --json"), "", answers()).out, format!("{json}\n"));
    }
}

#[test]
fn members_of_a_json_file_are_sent_with_the_flags_over_them() {
    let answer = r#"{"client_id":"photos","client_secret":"tls_new","new_member":1}"#;
    let ran = ran(
        "client register --json-file - --scope read --refresh-idle-s never --redirect-uri a.b:/c",
        r#"{"scope": "write", "client_name": "Photos", "grace_s": 5}"#,
        vec![token(), http("201 Created", "", answer)],
    );
    ran.result.unwrap();
    assert_eq!(ran.requests[1].line, "POST /admin/clients HTTP/1.1");
    let expected = serde_json::json!({
        "scope": "read", "client_name": "Photos", "grace_s": 5, "refresh_idle_s": null,
        "redirect_uris": ["a.b:/c"],
    });
    let sent: serde_json::Value = serde_json::from_str(&ran.requests[1].body).unwrap();
    assert_eq!(sent, expected);
    assert_eq!(ran.out.matches("tls_new").count(), 1);
    assert!(ran.notes.contains("shown this once"), "{}", ran.notes);
    assert!(!ran.notes.contains("tls_new"));
}

#[test]
fn c8_the_keys_of_a_client_are_registered_from_a_file_or_by_their_address() {
    let answer = r#"{"client_id":"robot"}"#;
    let answers = || vec![token(), http("201 Created", "", answer)];
    let line = "client register --auth-method private_key_jwt --jwks-file -";
    let by_file = ran(line, r#"{"keys": [{"kty": "OKP"}]}"#, answers());
    let line = "client register --auth-method private_key_jwt --jwks-uri https://a.example/jwks";
    let by_uri = ran(line, "", answers());
    assert!(by_file.result.is_ok() && by_uri.result.is_ok());
    let sent = [&by_file, &by_uri].map(|ran| &ran.requests[1].body);
    let sent = sent.map(|body| serde_json::from_str::<serde_json::Value>(body).unwrap());
    assert!(sent.iter().all(|sent| sent["token_endpoint_auth_method"] == "private_key_jwt"));
    assert_eq!(sent[0]["jwks"], serde_json::json!({ "keys": [{ "kty": "OKP" }] }));
    assert_eq!(sent[1]["jwks_uri"], "https://a.example/jwks");
    assert!(!by_file.notes.contains("client_secret"), "{}", by_file.notes);
}

#[test]
fn a_secret_that_could_not_be_shown_is_a_failure_and_an_answer_nobody_reads_is_not() {
    let answer = r#"{"client_id":"photos","client_secret":"tls_new"}"#;
    let answers = vec![token(), http("201 Created", "", answer)];
    let (result, _, _) = run_into(&mut Closed, "client register", "", answers);
    let error = result.unwrap_err();
    assert!(matches!(&error, CliError::SecretNotShown { client_id, .. } if client_id == "photos"));
    assert!(!error.is_closed_pipe());
    assert!(error.hint().unwrap().contains("rotate-secret photos"));

    let answers = vec![token(), http("200 OK", "", "{\"seq\":0}\n")];
    let (result, _, _) = run_into(&mut Closed, "audit records", "", answers);
    assert!(result.unwrap_err().is_closed_pipe());
}

#[test]
fn an_identifier_stays_one_segment_of_the_path() {
    let answers = vec![token(), http("200 OK", "", "{}")];
    let ran_ = ran("client show a/../b?c#d%2f", "", answers);
    ran_.result.unwrap();
    assert_eq!(ran_.requests[1].line, "GET /admin/clients/a%2F..%2Fb%3Fc%23d%252f HTTP/1.1");
    let refused = ran("client disable ..", "", vec![]).result.unwrap_err();
    assert_eq!(refused.exit().code(), 2);
}

#[test]
fn a_token_from_standard_input_is_sent_in_the_body() {
    let answers = vec![token(), http("201 Created", "", r#"{"id":"b_x","seq":7}"#)];
    let ran = ran("blacklist add --token-stdin --reason leak", "tlr_abc\n", answers);
    ran.result.unwrap();
    let sent: serde_json::Value = serde_json::from_str(&ran.requests[1].body).unwrap();
    let target = serde_json::json!({ "type": "token", "token": "tlr_abc" });
    assert_eq!(sent, serde_json::json!({ "target": target, "reason": "leak" }));
    assert_eq!(ran.out, "id   b_x\nseq  7\n");
}

#[test]
fn a_name_that_nobody_had_before_is_asked_about() {
    for (first_seen, is_asked) in [(true, true), (false, false)] {
        let entry = json!({ "id": "b_Zm9vYmFyYmF6", "seq": 7, "first_seen": first_seen });
        let answers = vec![token(), http("201 Created", "", &entry.to_string())];
        let ran = ran("blacklist add --subject alcie --reason leak", "", answers);
        ran.result.unwrap();
        assert_eq!(ran.notes.contains("is it spelt as in the tokens?"), is_asked, "{}", ran.notes);
    }
}

#[test]
fn pages_of_records_are_followed_and_written_as_they_are() {
    let first = http("200 OK", "next-cursor: c1\r\n", "{\"seq\":0,  \"x\":1}\n");
    let second = http("200 OK", "", "{\"seq\":1}\n");
    let ran = ran("audit records --all --limit 1 --type a.b", "", vec![token(), first, second]);
    ran.result.unwrap();
    assert_eq!(ran.out, "{\"seq\":0,  \"x\":1}\n{\"seq\":1}\n");
    assert_eq!(ran.requests[1].line, "GET /audit/records?type=a.b&limit=1 HTTP/1.1");
    assert_eq!(ran.requests[2].line, "GET /audit/records?type=a.b&limit=1&cursor=c1 HTTP/1.1");
}

#[test]
fn pages_that_lead_nowhere_are_not_followed_for_ever() {
    let page = || http("200 OK", "next-cursor: c1\r\n", "{\"seq\":0}\n");
    let stuck = ran("audit records --all", "", vec![token(), page(), page()]);
    assert!(matches!(stuck.result, Err(CliError::Remote(RemoteError::Unexpected { .. }))));
    let cut = ran("audit records", "", vec![token(), http("200 OK", "", "{\"seq\":0}\n{\"s")]);
    assert!(matches!(cut.result, Err(CliError::Remote(RemoteError::Unexpected { .. }))));
    assert_eq!(cut.out, "");
}

#[test]
fn a_list_is_a_table_for_people_and_the_answer_itself_for_programs() {
    let body = r#"{"grants":[{"grant_id":"g_1","scope":"read","tokens":[1,2]}],"next_cursor":"n"}"#;
    let answers = || vec![token(), http("200 OK", "", body)];
    let table = ran("grant list --subject alice", "", answers());
    table.result.unwrap();
    assert_eq!(table.requests[1].line, "GET /admin/grants?subject=alice HTTP/1.1");
    assert_eq!(
        table.out.lines().nth(1).unwrap(),
        "g_1       -          -        read   -           2"
    );
    assert!(table.notes.contains("--cursor n"), "{}", table.notes);
    let json = ran("grant list --client a --json", "", answers());
    json.result.unwrap();
    assert_eq!(json.out, format!("{body}\n"));
}

#[test]
fn a_trail_may_come_as_lines_or_in_an_object() {
    let line = r#"{"seq":3,"at":"T","type":"grant.created","data":{"how":"x"}}"#;
    for body in [format!("{line}\n"), format!("{{\"records\":[{line}],\"as_of\":{{}}}}")] {
        let ran = ran("audit trail --client a", "", vec![token(), http("200 OK", "", &body)]);
        ran.result.unwrap();
        let row = ran.out.lines().nth(1).unwrap();
        assert_eq!(row, "3    T   grant.created  -      -      {\"how\":\"x\"}");
    }
}

#[test]
fn a_token_that_expired_on_the_way_is_replaced_once() {
    let expired = || http("401 Unauthorized", "", r#"{"error":"invalid_token"}"#);
    let page = http("200 OK", "next-cursor: c1\r\n", "{\"seq\":0}\n");
    let last = http("200 OK", "", "{\"seq\":1}\n");
    let answers = vec![token(), page.clone(), expired(), token(), last];
    let ran_ = ran("audit records --all", "", answers);
    ran_.result.unwrap();
    assert_eq!(ran_.out, "{\"seq\":0}\n{\"seq\":1}\n");
    // A fresh one that is not accepted is not replaced.
    let refused = ran("audit records", "", vec![token(), expired()]);
    assert!(refused.told().starts_with("error: invalid_token (401)\n"), "{}", refused.told());
}

#[test]
fn refusals_are_told_with_what_to_do() {
    let error = |code: &str| format!(r#"{{"error":"{code}","error_description":"No \u001b[2J"}}"#);
    let scope = "www-authenticate: Bearer error=\"insufficient_scope\", scope=\"ledger:admin\"\r\n";
    let cases = [
        ("403 Forbidden", scope, error("insufficient_scope"), "the scope ledger:admin"),
        ("404 Not Found", "", error("not_found"), "list command"),
        ("404 Not Found", "", "<html>".to_owned(), "admin listener"),
        ("409 Conflict", "", error("conflict"), "what is there now"),
        ("503 Busy", "retry-after: 7\r\n", error("temporarily_unavailable"), "again in 7 s"),
        ("302 Found", "location: http://127.0.0.1:1/\r\n", String::new(), "--help"),
        ("500 Broken", "", error("server_error"), "server's log"),
    ];
    for (status, headers, body, hint) in cases {
        let ran = ran("client list", "", vec![token(), http(status, headers, &body)]);
        let told = ran.told();
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(told.lines().nth(1).unwrap().contains(hint), "{told}");
        assert!(!told.contains('\u{1b}'), "{told:?}");
        assert_eq!(ran.result.unwrap_err().exit().code(), 1);
    }
}

#[test]
fn who_may_not_log_in_is_told_so_and_asks_nothing_else() {
    let body = r#"{"error":"invalid_client","error_description":"client authentication failed"}"#;
    let ran = ran("client list", "", vec![http("401 Unauthorized", "", body)]);
    let told = ran.told();
    assert!(told.contains("gives client a:b no access token: client authentication failed"));
    assert!(told.contains("hint: log in again"), "{told}");
    assert!(!told.contains("s ecret+"));
}

#[test]
fn an_answer_without_end_is_not_read_to_its_end() {
    let long = http("200 OK", "", &"a".repeat(ANSWER_BYTES_MAX + 1));
    let ran = ran("client list", "", vec![token(), long]);
    assert!(matches!(ran.result, Err(CliError::Remote(RemoteError::TooLong { .. }))));
}

#[test]
fn after_a_lost_answer_it_is_said_whether_something_may_have_changed() {
    let lost = || "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_owned();
    let read = ran("client list", "", vec![token(), lost()]);
    assert!(read.told().contains("hint: nothing was changed"), "{}", read.told());
    let write = ran("client disable a", "", vec![token(), lost()]);
    assert!(write.told().contains("hint: the change may be done or not"), "{}", write.told());
}

#[test]
fn a_server_that_is_not_there_is_told_by_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let variables =
        [(PUBLIC_URL, &*url), (ADMIN_URL, &url), (CLIENT_ID, "a"), (CLIENT_SECRET, "b")];
    let variables = BTreeMap::from(variables);
    let mut console = Console {
        out: &mut Vec::new(),
        notes: &mut Vec::new(),
        input: &mut Cursor::new(""),
        input_is_terminal: false,
        variable: &|name| variables.get(name).map(|value| (*value).to_owned()),
    };
    let error = run(Cli::parse_from(["token-ledger", "keys", "list"]), &mut console).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot reach {url}: ")), "{error}");
    assert!(error.hint().unwrap().contains("token-ledger serve"));
}
