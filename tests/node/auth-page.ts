// better-auth's own browser client, for the tests to call.
import { createAuthClient } from "better-auth/client";

(window as any).auth = createAuthClient();
