//! The spans of a whole call, as a collector gets them by OTLP.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use sim::model::{Behaviour, FakeModel, Reply, Script};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::common::Stage;
use crate::{FROM, SECRET_WORDS, TO, conversation};

/// Takes spans, and passes on what it was sent.
async fn collector() -> (String, mpsc::UnboundedReceiver<Bytes>) {
    let (got, requests) = mpsc::unbounded_channel();
    let router = Router::new().route("/v1/traces", post(take)).with_state(got);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    (url, requests)
}

async fn take(State(got): State<mpsc::UnboundedSender<Bytes>>, body: Bytes) {
    got.send(body).unwrap();
}

/// A model that calls a tool before its first answer.
fn tool_user() -> FakeModel {
    let answer =
        "There is marzipan of the very best kind, and a great deal of it, whenever you would like to have some.";
    let replies = vec![
        Reply::calls("stock", r#"{"of":"rhubarb"}"#),
        Reply::says(answer),
        Reply::says("All right then, goodbye!"),
    ];
    let script = Script { replies, ..Script::default() }.hears(["Any rhubarb?", "No, I want turmeric."]);
    FakeModel::new("tool user", script, Behaviour::default())
}

#[tokio::test]
async fn a_call_is_a_tree_of_spans_without_personal_data() {
    let (url, mut requests) = collector().await;
    let shop = Router::new().route("/stock", post(|| async { "turmeric, and rhubarb" }));
    let shop_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shop_url = format!("http://{}/stock", shop_listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(shop_listener, shop).await });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stage = Stage::listening(
        |_| tool_user(),
        listener,
        |config| {
            config.otlp_endpoint = Some(url.parse().unwrap());
            config.agents[0].tools = vec![patchcord::agent::Tool {
                name: "stock".to_owned(),
                description: "What there is".to_owned(),
                parameters: serde_json::json!({ "type": "object" }),
                url: shop_url.parse().unwrap(),
            }];
        },
    )
    .await;
    let (_, record) = conversation(&stage).await;
    // Stopping sends what is left.
    stage.strike().await;

    let mut spans = Vec::new();
    while let Ok(body) = requests.try_recv() {
        for secret in [FROM, TO, "5550001", "5550006"].iter().chain(&SECRET_WORDS) {
            assert!(!body.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} was exported");
        }
        for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
            let service = resource.resource.unwrap().attributes;
            assert!(service.iter().any(|pair| pair.key == "service.name"), "{service:?}");
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    let by_id: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (&span.span_id[..], span)).collect();
    assert_eq!(by_id.len(), spans.len(), "two spans have one id");

    let calls: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id.is_empty()).collect();
    let [call] = calls[..] else { panic!("{} roots", calls.len()) };
    assert_eq!((call.name.as_str(), &call.trace_id[..]), ("call", &record.facts.id.as_bytes()[..]));
    let about_call = attributes(call);
    assert_eq!(about_call["patchcord.agent"], "default");
    assert_eq!(
        (&about_call["patchcord.ended_reason"][..], &about_call["patchcord.ended_by"][..]),
        ("goodbye", "agent")
    );
    for span in &spans {
        assert_eq!(span.trace_id, call.trace_id);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(call.start_time_unix_nano <= span.start_time_unix_nano, "{span:?}");
    }
    // What is in what: name and who or why, of each span and its parent.
    let label = |span: &Span| {
        let about = attributes(span);
        let more = about.get("patchcord.who").or(about.get("patchcord.reason")).or(about.get("patchcord.tool"));
        format!("{} {}", span.name, more.cloned().unwrap_or_default()).trim().to_owned()
    };
    let mut tree = BTreeMap::<(String, String), usize>::new();
    for span in spans.iter().filter(|span| !span.parent_span_id.is_empty()) {
        *tree.entry((label(by_id[&span.parent_span_id[..]]), label(span))).or_default() += 1;
    }
    let count = |parent: &str, child: &str| tree.get(&(parent.to_owned(), child.to_owned())).copied().unwrap_or(0);
    assert_eq!(count("call", "turn caller"), 2, "{tree:#?}");
    assert_eq!(count("call", "response greeting"), 1, "{tree:#?}");
    assert_eq!(count("call", "response caller_turn"), 2, "{tree:#?}");
    assert_eq!(count("call", "response tool_result"), 1, "{tree:#?}");
    assert_eq!(count("response caller_turn", "tool stock"), 1, "{tree:#?}");
    assert_eq!(count("response greeting", "turn agent"), 1, "{tree:#?}");
    assert_eq!(count("response tool_result", "turn agent"), 1, "{tree:#?}");
    assert_eq!(count("response caller_turn", "turn agent"), 1, "{tree:#?}");
    assert_eq!(tree.values().sum::<usize>(), 10, "{tree:#?}");
    let interrupted = spans.iter().find(|span| attributes(span).contains_key("patchcord.interrupted_after_ms"));
    assert_eq!(interrupted.map(label), Some("turn agent".to_owned()));
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        other => panic!("not a text: {other:?}"),
    };
    let pairs = span.attributes.iter().cloned();
    pairs.map(|pair| (pair.key, text(pair.value.and_then(|value| value.value)))).collect()
}

/// Neither one that refuses nor one that never answers.
#[tokio::test]
async fn a_collector_that_fails_does_not_hurt_a_call() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for address in [gone, silent.local_addr().unwrap()] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stage = Stage::listening(
            |_| tool_user(),
            listener,
            |config| {
                config.otlp_endpoint = Some(format!("http://{address}").parse().unwrap());
            },
        )
        .await;
        conversation(&stage).await;
        let stopping = tokio::time::Instant::now();
        stage.strike().await;
        assert!(stopping.elapsed() < std::time::Duration::from_secs(5), "{:?}", stopping.elapsed());
    }
}
