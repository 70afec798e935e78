// Mounts the source text's own component, which stands unchanged in notification-stream.tsx.
import { createRoot } from "react-dom/client";
import { NotificationStream } from "./notification-stream";

createRoot(document.body).render(<NotificationStream />);
