//! A fake Realtime server for trying clients against: prints its URL on the first line, then runs until it is stopped.
//!
//! `fake-model [key] [what the agent says]...`; the key is `test-key` if none is given.

use std::time::Duration;

use sim::model::server::ModelServer;
use sim::model::{Behaviour, FakeModel, Script};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let key = arguments.next().unwrap_or_else(|| "test-key".into());
    let says: Vec<String> = arguments.collect();
    let server = ModelServer::start(&key, move |opening| {
        let script = Script::says(says.iter().map(String::as_str));
        let behaviour = Behaviour { strict: false, ..Default::default() };
        FakeModel::new(&opening.number.to_string(), script, behaviour)
    })
    .await?;
    println!("{}", server.url());
    loop {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
    }
}
