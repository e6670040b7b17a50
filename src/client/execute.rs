//! What a client does around its transport, for one request: its chain of redirects.
//!
//! ```text
//!   request ─► prepare ─► chain ─► response ─► redirect? ── no ──► the caller
//!                ▲   (middleware, transport)      │
//!                └────────── next request ◄───────┘
//! ```

use crate::client::Client;
use crate::client::RequestOptions;
#[cfg(feature = "cookies")]
use crate::client::cookies::ChainCookies;
use crate::client::credentials;
use crate::client::failure::redacted;
use crate::client::redirect;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime::Core;

impl Client {
    pub(super) async fn execute(
        &self,
        mut request: Request,
        mut options: RequestOptions,
    ) -> Result<Response> {
        let core = Core::try_current()?;
        let chain = self.chain(&core);
        options.begin(core.now(), self.config.timeout);
        self.add_defaults(&mut request)?;
        let may_decode = self.config.decompression.ask(&mut request);
        let mut redirects_count = 0;
        #[cfg(feature = "cookies")]
        let mut cookies = ChainCookies::begin(self.config.jar.as_ref(), &request);
        loop {
            self.prepare(&mut request);
            #[cfg(feature = "cookies")]
            if let Some(cookies) = &mut cookies {
                cookies.add(&mut request, core.wall_seconds());
            }
            let url = request.url().cloned();
            let method = request.method().clone();
            let is_replayable = request.body().is_replayable();
            let follows = self.config.redirects_max > 0;
            let sending = chain.send(request, &options, follows);
            let for_url = |error: Error| match &url {
                Some(url) if error.url().is_none() => error.for_url(redacted(url)),
                _ => error,
            };
            let (mut response, mut sent) = sending.await.map_err(for_url)?;
            #[cfg(feature = "cookies")]
            if let Some(cookies) = &mut cookies {
                cookies.take(&response, core.wall_seconds());
            }
            if let (true, Some(url)) = (follows, &url) {
                let location = response.headers().get_bytes("location");
                let status = response.status_code();
                let redirect = redirect::decide(&method, url, status, location).map_err(for_url)?;
                let next = redirect.filter(|to| is_replayable || !to.keeps_body);
                if let (Some(redirect), Some(mut again)) = (next, sent.take_request()) {
                    redirects_count += 1;
                    if redirects_count > self.config.redirects_max {
                        return Err(for_url(too_many_redirects(self.config.redirects_max)));
                    }
                    #[cfg(feature = "cookies")]
                    if let (true, Some(cookies)) = (redirect.leaves, &mut cookies) {
                        cookies.leave();
                    }
                    redirect::follow(&mut again, redirect);
                    request = again;
                    continue;
                }
            }
            response.set_url(url);
            if may_decode {
                self.config.decompression.decode(&mut response);
            }
            return Ok(response);
        }
    }

    /// What a request of this client gets, but for those that follow from redirects: they have it
    /// already, or left it behind.
    fn add_defaults(&self, request: &mut Request) -> Result<()> {
        let defaults = &self.config.default_headers;
        if defaults.is_empty() {
            return Ok(());
        }
        let headers = request.headers_mut();
        // Two defaults of one name are both added.
        let own = headers.len();
        for (name, value) in defaults {
            let mut before = headers.iter().take(own);
            if !before.any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                headers.append(name, value)?;
            }
        }
        Ok(())
    }

    /// What every request of this client gets.
    fn prepare(&self, request: &mut Request) {
        credentials::from_url(request);
        if let Some(agent) = &self.config.user_agent
            && !request.headers().contains("user-agent")
        {
            // Checked when the client was built.
            let added = request.headers_mut().append("User-Agent", agent.as_bytes());
            assert!(added.is_ok(), "the User-Agent was checked");
        }
    }
}

fn too_many_redirects(max: usize) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!("more than {max} redirects (redirects_max)"),
    )
    .in_phase(Phase::ResponseHead)
}
