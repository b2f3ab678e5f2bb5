//! Clients in Rust against one broker: clients BOOTSTRAP.

#[cfg(feature = "librdkafka")]
mod librdkafka;
mod rskafka_client;

use std::fmt::Debug;
use std::io::Write;
use std::process::ExitCode;

/// What a part of a suite comes to.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

pub struct Run {
    pub bootstrap: String,
    pub records: usize,
    /// How many a topic gets: three where brokers are restarted while the suite runs.
    pub replicas: i16,
    /// Keeps names apart when suites run against the same broker.
    pub id: u32,
}

impl Run {
    pub fn name(&self, name: &str) -> String {
        format!("rust-{:x}-{name}", self.id)
    }
}

pub fn same<T: PartialEq + Debug>(expected: T, got: T, what: &str) -> Outcome {
    if expected == got {
        return Ok(());
    }
    let short = |v: &T| format!("{v:?}").chars().take(600).collect::<String>();
    Err(format!("{what}: expected {}, got {}", short(&expected), short(&got)).into())
}

/// Notes what works for the table of clients.
pub struct Suite {
    pub client: &'static str,
    pub version: &'static str,
    pub passed: usize,
    pub failed: usize,
}

impl Suite {
    pub fn part(&mut self, features: &[&str], name: &str, outcome: Outcome) {
        match &outcome {
            Ok(()) => self.passed += 1,
            Err(e) => {
                self.failed += 1;
                println!("{} {}: {name} FAILED: {e}", self.client, self.version);
            }
        }
        self.note(features, if outcome.is_ok() { "pass" } else { "fail" });
    }

    pub fn note(&self, features: &[&str], result: &str) {
        let Ok(path) = std::env::var("COMPAT_RESULTS") else { return };
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the file of COMPAT_RESULTS");
        for feature in features {
            writeln!(file, "{}\t{}\t{feature}\t{result}", self.client, self.version).expect("a line in the file of COMPAT_RESULTS");
        }
    }

    fn end(&self) -> bool {
        println!("rust: {} {}: {} passed, {} failed", self.client, self.version, self.passed, self.failed);
        self.failed == 0
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(bootstrap) = std::env::args().nth(1) else {
        eprintln!("usage: clients BOOTSTRAP");
        return ExitCode::from(2);
    };
    let smoke = std::env::var("SMOKE").is_ok_and(|v| !v.is_empty());
    let three = std::env::var("COMPAT_THREE").is_ok_and(|v| !v.is_empty());
    let run = Run { bootstrap, records: if smoke { 300 } else { 3000 }, replicas: if three { 3 } else { 1 }, id: std::process::id() };
    #[cfg_attr(not(feature = "librdkafka"), expect(unused_mut))]
    let mut good = rskafka_client::suite(&run).await.end();
    #[cfg(feature = "librdkafka")]
    {
        good &= librdkafka::suite(&run).await.end();
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
