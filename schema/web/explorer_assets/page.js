// GraphiQL with a token: fetched here with a client's secret, kept in this page's memory and nowhere else.
"use strict";

const login = document.getElementById("login");
const said = document.getElementById("said");
const root = ReactDOM.createRoot(document.getElementById("explorer"));
let token = null;

const QUERY = `# Ask as the client whose token you fetched. Ctrl-Space completes, Ctrl-Enter asks.
{
  viewer { clientId scopes }
  programme { name mode currency }
}
`;

async function fetcher(asked, options) {
  const authorization = token === null ? {} : { Authorization: `Bearer ${token}` };
  const answer = await fetch("/graphql", {
    method: "POST",
    credentials: "omit",
    headers: {
      Accept: "application/graphql-response+json",
      "Content-Type": "application/json",
      ...authorization,
      ...(options && options.headers),
    },
    body: JSON.stringify(asked),
  });
  return answer.json();
}

// A new key makes a new explorer, which asks for the schema again.
function show(key) {
  root.render(
    React.createElement(GraphiQL, { key, fetcher, defaultQuery: QUERY, shouldPersistHeaders: false }),
  );
}

login.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { client, secret } = login.elements;
  try {
    const answer = await fetch("/oauth/token", {
      method: "POST",
      credentials: "omit",
      headers: { Authorization: "Basic " + btoa(`${client.value}:${secret.value}`) },
      body: new URLSearchParams({ grant_type: "client_credentials" }),
    });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error_description || told.error);
    token = told.access_token;
    said.value = `A token for ${told.expires_in / 60} minutes: ${told.scope}`;
    show(token);
  } catch (error) {
    said.value = error.message;
  }
});

show("nobody");
