//! What a client does around its transport, for one request: its chain of redirects.
//!
//! ```text
//!   request ─► prepare ─► chain ─► response ─► redirect? ── no ──► the caller
//!                ▲   (middleware, transport)      │
//!                └────────── next request ◄───────┘
//! ```

use crate::client::RequestOptions;
#[cfg(feature = "cookies")]
use crate::client::cookies::ChainCookies;
use crate::client::local::Local;
use crate::client::redirect;
use crate::client::redirect::Trail;
use crate::error::Error;
use crate::error::Result;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::response::reading::named;
use crate::runtime::Core;

impl Local {
    pub(super) async fn execute(
        &self,
        mut request: Request,
        mut options: RequestOptions,
    ) -> Result<Response> {
        let core = Core::try_current()?;
        options.begin(core.now(), self.config.timeout);
        self.add_defaults(&mut request)?;
        let may_decode = self.config.decompression.ask(&mut request);
        let redirects_max = options.redirects_max_or(self.config.redirects_max);
        let config = &self.config;
        let policy = config.redirect_policy.as_ref();
        let mut trail = Trail::new(redirects_max, policy, config.referrer_policy);
        #[cfg(feature = "cookies")]
        let mut cookies = ChainCookies::begin(self.config.jar.as_ref(), &request);
        loop {
            self.prepare(&mut request, &mut trail);
            #[cfg(feature = "cookies")]
            if let Some(cookies) = &mut cookies {
                cookies.add(&mut request, core.wall_seconds());
            }
            let url = request.url().cloned();
            let method = request.method().clone();
            let is_replayable = request.body().is_replayable();
            let sending = self.chain.send(request, &options, trail.follows());
            let for_url = |error: Error| named(error, url.as_ref());
            let (mut response, mut sent) = sending.await.map_err(for_url)?;
            #[cfg(feature = "cookies")]
            if let Some(cookies) = &mut cookies {
                cookies.take(&response, core.wall_seconds());
            }
            if let (true, Some(url)) = (trail.follows(), &url)
                && let Some(redirect) = trail
                    .next(&method, url, &response, is_replayable)
                    .map_err(for_url)?
                && let Some(mut again) = sent.take_request()
            {
                let (leaves, status) = (redirect.leaves, response.status_code());
                trail.follow(&mut again, redirect, status);
                request = again;
                #[cfg(feature = "cookies")]
                if let (true, Some(cookies)) = (leaves, &mut cookies) {
                    cookies.leave();
                }
                if !leaves {
                    redirect::finish(response, core.now(), options.total).await;
                }
                continue;
            }
            response.set_url(url);
            response.set_history(trail.into_history());
            response.set_collect_bytes_max(self.config.collect_bytes_max);
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
    fn prepare(&self, request: &mut Request, trail: &mut Trail<'_>) {
        trail.authorize(request);
        if let Some(agent) = &self.config.user_agent
            && !request.headers().contains("user-agent")
        {
            // Checked when the client was built.
            let added = request.headers_mut().append_checked("User-Agent", agent);
            assert!(added.is_ok(), "the User-Agent was checked");
        }
    }
}
