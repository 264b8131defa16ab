//! Numbers of the simulated carrier: what the REST API shows and takes, and where it leads who dials one.
#![expect(clippy::unwrap_used, reason = "the helpers are tests too")]

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::any;
use reqwest::RequestBuilder;
use serde_json::Value;
use sim::carrier::twilio::{CallOptions, EndedBy, FakeTwilio, Settings};

const OURS: &str = "+15005550006";
const THEIRS: &str = "+15005550001";

#[tokio::test]
async fn a_number_is_found_by_its_digits_and_changed_as_a_whole() {
    let carrier = carrier().await;
    carrier.buy_number("+15005550017");
    for (pattern, found) in
        [("", 2), ("%2B15005550006", 1), ("+15005550006", 0), ("5550017", 1), ("%2B150055500**", 2), ("%2B49", 0)]
    {
        let page = get(&carrier, &format!("IncomingPhoneNumbers.json?PhoneNumber={pattern}")).await;
        assert_eq!(page["incoming_phone_numbers"].as_array().unwrap().len(), found, "{pattern}");
    }
    let one = path(&carrier).await;
    let new = get(&carrier, &one).await;
    assert_eq!((&new["voice_url"], &new["voice_method"]), (&"".into(), &"POST".into()));
    for (form, code) in [
        ([("VoiceUrl", "https://a.example.org/"), ("VoiceMethod", "post")], 21403),
        ([("FriendlyName", "Bikes"), ("StatusCallback", "/twilio/status")], 21402),
    ] {
        let (status, body) = update(&carrier, &one, &form).await;
        assert_eq!((status, body["code"].as_u64()), (StatusCode::BAD_REQUEST, Some(code)), "{form:?}");
        assert_eq!(get(&carrier, &one).await, new);
    }
    let (status, body) = update(&carrier, &one, &[("FriendlyName", "Bikes"), ("Colour", "red")]).await;
    assert_eq!((status, &body["friendly_name"]), (StatusCode::OK, &"Bikes".into()));
    assert_eq!(carrier.desk_problems().len(), 1);

    let (status, _) = update(&carrier, "IncomingPhoneNumbers/PN404.json", &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let stranger = reqwest::Client::new().get(format!("{}/{one}", account(&carrier))).send().await.unwrap();
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn who_dials_a_number_gets_where_it_leads() {
    let carrier = carrier().await;
    let dial = |to| carrier.dial(THEIRS, to, Vec::new(), CallOptions::default());
    for (to, problem) in [(OURS, "has no VoiceUrl"), (THEIRS, "is no number of this account")] {
        let report = dial(to).await;
        assert!(report.problems[0].ends_with(problem), "{:?}", report.problems);
        assert_eq!((report.ended_by, report.documents.len()), (EndedBy::Failure, 0));
    }

    let asked = Arc::new(Mutex::new(Vec::new()));
    let see = Arc::clone(&asked);
    let answer = async move |method: Method, uri: Uri, body: String| {
        let fields = if method == Method::GET { uri.query().unwrap_or_default().to_owned() } else { body };
        let status = fields.split('&').find(|field| field.starts_with("CallStatus=")).unwrap_or_default().to_owned();
        see.lock().unwrap().push(format!("{method} {} {status}", uri.path()));
        ([("content-type", "text/xml")], "<Response><Hangup/></Response>").into_response()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    carrier.server_is_at(&format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(answer))).await });
    let one = path(&carrier).await;
    for (method, other) in [("GET", "POST"), ("POST", "GET")] {
        let form = [
            ("VoiceUrl", "https://calls.example.org/answer?x=1"),
            ("VoiceMethod", method),
            ("StatusCallback", "https://calls.example.org/over"),
            ("StatusCallbackMethod", other),
        ];
        assert_eq!(update(&carrier, &one, &form).await.0, StatusCode::OK);
        let report = dial(OURS).await;
        assert_eq!(report.problems, [""; 0]);
        assert_eq!(
            std::mem::take(&mut *asked.lock().unwrap()),
            [format!("{method} /answer CallStatus=ringing"), format!("{other} /over CallStatus=completed")]
        );
    }
}

async fn carrier() -> FakeTwilio {
    let origin = Some("https://calls.example.org".to_owned());
    let carrier = FakeTwilio::start(Settings { public_origin: origin, ..Settings::default() }).await.unwrap();
    carrier.buy_number(OURS);
    carrier
}

/// The path of our number.
async fn path(carrier: &FakeTwilio) -> String {
    let page = get(carrier, "IncomingPhoneNumbers.json?PhoneNumber=%2B15005550006").await;
    format!("IncomingPhoneNumbers/{}.json", page["incoming_phone_numbers"][0]["sid"].as_str().unwrap())
}

fn account(carrier: &FakeTwilio) -> String {
    format!("{}/2010-04-01/Accounts/{}", carrier.api_url(), Settings::default().account_sid)
}

fn with_password(request: RequestBuilder) -> RequestBuilder {
    let Settings { account_sid, auth_token, .. } = Settings::default();
    request.basic_auth(account_sid, Some(auth_token))
}

async fn get(carrier: &FakeTwilio, path: &str) -> Value {
    let request = reqwest::Client::new().get(format!("{}/{path}", account(carrier)));
    with_password(request).send().await.unwrap().json().await.unwrap()
}

async fn update(carrier: &FakeTwilio, path: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
    let request = reqwest::Client::new().post(format!("{}/{path}", account(carrier))).form(form);
    let response = with_password(request).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}
