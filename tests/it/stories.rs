//! Every rule of every grant type as a conversation: the stories under `snapshots/stories/` are
//! run and must come out byte for byte. They are the specification and its test at once.

use crate::support::golden;
use crate::support::script::Script;

/// Between two stories of one file: the next one starts with a fresh ledger.
const NEXT_STORY: &str = "----";

/// Runs the commands of `text`; answers it with the outcomes as they are now.
fn told(text: &str) -> String {
    let mut script = Script::new();
    let mut out = String::new();
    let mut batch: Option<(String, Vec<String>)> = None;
    for line in text.lines().chain([NEXT_STORY]) {
        if line.starts_with("    ") {
            continue; // what came out last time
        }
        if let Some(command) = line.strip_prefix("& ") {
            batch.as_mut().expect("& follows >").1.push(command.to_owned());
        } else {
            if let Some((at, commands)) = batch.take() {
                let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
                for line in script.run(&at, &commands) {
                    out.push_str(&format!("    {line}\n"));
                }
            }
            if let Some(command) = line.strip_prefix("> ") {
                let (at, command) = command.split_once(' ').expect("> second command");
                batch = Some((at.to_owned(), vec![command.to_owned()]));
            } else if line == NEXT_STORY {
                script = Script::new();
            }
        }
        out.push_str(line);
        out.push('\n');
    }
    out.strip_suffix("----\n").expect("it was added above").to_owned()
}

fn run(file: &str) {
    let name = format!("stories/{file}.txt");
    golden::compare(&name, &told(&golden::read(&name)));
}

macro_rules! stories {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*

        #[test]
        fn no_story_is_left_untold() {
            let told = [$(concat!(stringify!($name), ".txt")),*];
            assert_eq!(golden::files("stories"), told, "each file has a test, in order");
        }
    };
}

stories! {
    assertions
    authorization_code
    batches
    blacklist
    client_credentials
    clock
    counting
    grace
    refresh
    revocation
    shadowing
    subjects
}
