//! One way to call: what a case sends goes through either client, and comes back the same.

use std::thread;
use std::time::Duration;

use roundtrip::Client;
use roundtrip::Request;
use roundtrip::Result;
use roundtrip::blocking;
use roundtrip::client::ClientBuilder;
use roundtrip::client::RequestBuilder;
use roundtrip::http::headers::Headers;
use roundtrip::runtime;
use roundtrip::runtime::Runtime;

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Async,
    Blocking,
}

/// Sends requests, and waits for the last byte of each answer.
pub struct Caller {
    way: Way,
    pub client: Client,
    pub runtime: Runtime,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub trailers: Option<Headers>,
    pub is_reused: bool,
    pub url: String,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// Which connection it came on, as the server says.
    pub fn connection(&self) -> Option<&str> {
        self.headers.get("x-connection")
    }
}

/// No answer takes longer.
const LONG: Duration = Duration::from_secs(20);

impl Caller {
    /// With the defaults.
    pub fn new(way: Way) -> Caller {
        Caller::with(way, |builder| builder)
    }

    /// With other settings.
    pub fn with(way: Way, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Caller {
        Caller {
            way,
            client: change(Client::builder().timeout(LONG)).build(),
            runtime: Runtime::small().expect("a ring"),
        }
    }

    /// The same way with other settings.
    pub fn again(&self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Caller {
        Caller::with(self.way, change)
    }

    /// Sends, and reads all.
    pub fn try_send(&self, request: RequestBuilder) -> Result<Answer> {
        let request = request.build()?;
        match self.way {
            Way::Async => self.runtime.block_on(send(&self.client, request))?,
            Way::Blocking => {
                let client = blocking::Client::from(self.client.clone());
                let mut response = client.send(request)?;
                let mut body = Vec::new();
                while let Some(chunk) = response.chunk()? {
                    body.extend_from_slice(&chunk);
                }
                let url = response.url().map(|url| url.to_string());
                let mut response = response.into_inner();
                Ok(Answer {
                    status: response.status_code().as_u16(),
                    headers: response.headers().clone(),
                    body,
                    trailers: response.body_mut().take_trailers(),
                    is_reused: response.timings().is_reused,
                    url: url.unwrap_or_default(),
                })
            }
        }
    }

    /// The same, for what has to be answered.
    #[track_caller]
    pub fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request)
            .unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// Lets time pass: a blocking client does nothing meanwhile.
    pub fn pause(&self, time: Duration) {
        match self.way {
            Way::Async => self.runtime.block_on(runtime::sleep(time)).expect("a core"),
            Way::Blocking => thread::sleep(time),
        }
    }

    /// GETs.
    #[track_caller]
    pub fn get(&self, url: String) -> Answer {
        self.send(self.client.get(url))
    }
}

async fn send(client: &Client, request: Request) -> Result<Answer> {
    let mut response = client.send(request).await?;
    let mut body = Vec::new();
    while let Some(chunk) = response.body_mut().chunk().await {
        body.extend_from_slice(&chunk?);
    }
    Ok(Answer {
        status: response.status_code().as_u16(),
        headers: response.headers().clone(),
        body,
        trailers: response.body_mut().take_trailers(),
        is_reused: response.timings().is_reused,
        url: response
            .url()
            .map(|url| url.to_string())
            .unwrap_or_default(),
    })
}
