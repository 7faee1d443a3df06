// Where Shopify sends its webhooks: raw body and headers go to public.ingest_shopify_webhook,
// which decides everything; its answer becomes 200, 401 (not authentic) or 503 (send it again).
// Deploy with --no-verify-jwt: Shopify has no account here, its signature is what counts.

Deno.serve(async (request) => {
  if (request.method !== "POST") {
    return new Response(null, { status: 405, headers: { Allow: "POST" } });
  }
  const key = Deno.env.get("SUPABASE_SERVICE_ROLE_KEY");
  try {
    const answer = await fetch(
      `${Deno.env.get("SUPABASE_URL")}/rest/v1/rpc/ingest_shopify_webhook`,
      {
        method: "POST",
        headers: {
          apikey: `${key}`,
          Authorization: `Bearer ${key}`,
          "Content-Type": "application/json",
        },
        body: JSON.stringify({
          p_shop_domain: request.headers.get("X-Shopify-Shop-Domain"),
          p_topic: request.headers.get("X-Shopify-Topic"),
          p_webhook_id: request.headers.get("X-Shopify-Webhook-Id"),
          p_hmac: request.headers.get("X-Shopify-Hmac-Sha256"),
          // as signed: request.text() would drop a byte order mark
          p_body: new TextDecoder("utf-8", { ignoreBOM: true }).decode(await request.arrayBuffer()),
        }),
        signal: AbortSignal.timeout(4500), // Shopify waits five seconds
      },
    );
    const { hint } = (await answer.json()) ?? {};
    const status = answer.ok ? 200 : hint === "BAD_SIGNATURE" ? 401 : 503;
    return new Response(null, { status });
  } catch (error) {
    console.error(`ingest_shopify_webhook: ${error}`);
    return new Response(null, { status: 503 });
  }
});
