//! Where connections of our own making lead: the model's socket, and requests to the carrier and to tools.
//!
//! To the network, of course. Tests of the whole shell in paused time have a world in memory instead, one for each thread
//! ([`memory`]): a socket of the system's would let the clock run away while its bytes are on their way.

#[cfg(not(test))]
pub(crate) use network::{Wire, dial, send};

#[cfg(test)]
pub(crate) use memory::{Wire, dial, send};

mod network {
    use std::io;

    use reqwest::{RequestBuilder, Response};
    use tokio::net::TcpStream;
    use tokio_tungstenite::tungstenite::http::Uri;

    /// The bytes below the model's socket.
    #[cfg(not(test))]
    pub(crate) type Wire = TcpStream;

    /// Connects to the host of a `ws` or `wss` URL.
    pub(crate) async fn dial(url: &Uri) -> io::Result<TcpStream> {
        let missing = || io::Error::new(io::ErrorKind::InvalidInput, "the URL names no host");
        // Addresses of IPv6 stand in brackets in a URL, and nowhere else.
        let host = url.host().ok_or_else(missing)?.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("wss") { 443 } else { 80 });
        let wire = TcpStream::connect((host, port)).await?;
        // Frames of 20 ms must not wait to be grouped.
        wire.set_nodelay(true)?;
        Ok(wire)
    }

    pub(crate) async fn send(request: RequestBuilder) -> reqwest::Result<Response> {
        request.send().await
    }
}

/// The same with a world in memory, where this thread has one.
#[cfg(test)]
pub(crate) mod memory {
    use std::cell::RefCell;
    use std::io;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::{Context, Poll};

    use futures_util::future::LocalBoxFuture;
    use hyper::body::{Body, Frame};
    use reqwest::{Request, RequestBuilder, Response};
    use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
    use tokio::sync::{mpsc, oneshot};
    use tokio_tungstenite::tungstenite::http::{self, Uri};

    use super::network;

    pub(crate) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
    impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

    pub(crate) type Wire = Box<dyn Bytes>;

    /// Whoever is at the other end.
    pub(crate) trait World {
        fn dialled(&self, url: &Uri) -> LocalBoxFuture<'static, io::Result<DuplexStream>>;
        fn asked(&self, request: Request) -> LocalBoxFuture<'static, http::Response<&'static str>>;
    }

    type Work = LocalBoxFuture<'static, ()>;

    struct Home {
        world: Rc<dyn World>,
        /// Who asks may be moved between threads, as far as the compiler knows; who answers stays on this one.
        work: mpsc::UnboundedSender<Work>,
    }

    thread_local! {
        static HOME: RefCell<Option<Home>> = const { RefCell::new(None) };
    }

    /// From now on connections of this thread lead there, which is in a `LocalSet`.
    pub(crate) fn enter(world: Rc<dyn World>) {
        let (work, mut orders) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            while let Some(work) = orders.recv().await {
                tokio::task::spawn_local::<Work>(work);
            }
        });
        HOME.set(Some(Home { world, work }));
    }

    /// To the network again.
    pub(crate) fn leave() {
        HOME.set(None);
    }

    /// What somebody in the world makes of it; `None`: there is no world.
    fn answer<T: Send + 'static>(
        ask: impl FnOnce(&dyn World) -> LocalBoxFuture<'static, T>,
    ) -> Option<oneshot::Receiver<T>> {
        HOME.with_borrow(|home| {
            let Home { world, work } = home.as_ref()?;
            let (mut told, answer) = oneshot::channel();
            let asked = ask(world.as_ref());
            let asked = async move {
                tokio::select! {
                    done = asked => drop(told.send(done)),
                    () = told.closed() => {}
                }
            };
            work.send(Box::pin(asked)).expect("the world goes on as long as its thread");
            Some(answer)
        })
    }

    pub(crate) async fn dial(url: &Uri) -> io::Result<Wire> {
        let Some(wire) = answer(|world| world.dialled(url)) else { return Ok(Box::new(network::dial(url).await?)) };
        Ok(Box::new(wire.await.map_err(io::Error::other)??))
    }

    pub(crate) async fn send(request: RequestBuilder) -> reqwest::Result<Response> {
        if HOME.with_borrow(Option::is_none) {
            return network::send(request).await;
        }
        let request = request.build()?;
        let limit = request.timeout().copied().expect("each of our requests has a limit");
        let Some(answer) = answer(|world| world.asked(request)) else { unreachable!("looked at above") };
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(Response::from(answer.map(reqwest::Body::from))),
            Ok(Err(_)) | Err(_) => {
                let late = Response::from(http::Response::new(reqwest::Body::wrap(Late)));
                Err(late.bytes().await.expect_err("it does not come"))
            }
        }
    }

    /// What an error that says so is made of.
    struct Late;

    impl Body for Late {
        type Data = hyper::body::Bytes;
        type Error = io::Error;
        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Self::Data>>>> {
            Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
        }
    }
}
