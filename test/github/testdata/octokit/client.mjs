// Talks to the simulator as a GitHub App does through Octokit, and prints what it got as JSON.
import { App, Octokit } from "octokit";
import { createHmac } from "node:crypto";

const { GITHUB_API_URL, APP_ID, PRIVATE_KEY, WEBHOOK_SECRET, INSTALLATION, OWNER, REPO, USER_TOKEN, PAYLOAD, SIGNATURE } = process.env;

const app = new App({
  appId: APP_ID,
  privateKey: PRIVATE_KEY,
  webhooks: { secret: WEBHOOK_SECRET },
  Octokit: Octokit.defaults({ baseUrl: GITHUB_API_URL, throttle: { enabled: false } }),
});
const repo = { owner: OWNER, repo: REPO };
const result = {};

const self = await app.octokit.request("GET /app");
result.slug = self.data.slug;

const octokit = await app.getInstallationOctokit(Number(INSTALLATION));
const { rest } = octokit;
const main = await rest.repos.getBranch({ ...repo, branch: "main" });
result.sha = main.data.commit.sha;

const file = await rest.repos.getContent({ ...repo, path: "docs/a b.txt" });
result.content = Buffer.from(file.data.content, "base64").toString();

const issue = await rest.issues.create({ ...repo, title: "From Octokit", body: "text" });
for (let i = 0; i < 5; i++) {
  await rest.issues.createComment({ ...repo, issue_number: issue.data.number, body: `comment ${i}` });
}
const comments = await octokit.paginate(rest.issues.listComments, { ...repo, issue_number: issue.data.number, per_page: 2 });
result.comments = comments.map((c) => `${c.user.login}: ${c.body}`);

const reaction = await rest.reactions.createForIssueComment({ ...repo, comment_id: comments[0].id, content: "eyes" });
result.reaction = reaction.data.content;

const check = await rest.checks.create({ ...repo, name: "octokit", head_sha: result.sha, status: "in_progress" });
await rest.checks.update({ ...repo, check_run_id: check.data.id, conclusion: "success", output: { title: "t", summary: "s" } });
const checks = await rest.checks.listForRef({ ...repo, ref: "main", check_name: "octokit" });
result.checks = checks.data.check_runs.map((c) => `${c.status} ${c.conclusion}`);

const permission = await rest.repos.getCollaboratorPermissionLevel({ ...repo, username: "ada" });
result.role = permission.data.role_name;

try {
  await rest.git.createRef({ ...repo, ref: "refs/tags/x", sha: result.sha });
} catch (error) {
  result.refused = `${error.status} ${error.response.data.message}`;
}

const user = new Octokit({ auth: USER_TOKEN, baseUrl: GITHUB_API_URL });
result.user = (await user.rest.users.getAuthenticated()).data.login;

result.verified = await app.webhooks.verify(PAYLOAD, SIGNATURE);
result.forged = await app.webhooks.verify(PAYLOAD, "sha256=" + createHmac("sha256", "other").update(PAYLOAD).digest("hex"));

console.log(JSON.stringify(result));
