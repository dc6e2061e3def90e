// What plays a chapter when one comes to it from before, and shows how it ends when one comes back to it.
(() => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const stands = () => calm.matches || Reveal.isSpeakerNotes() || Reveal.isPrintView();

  function play(slide) {
    const video = slide.querySelector("video");
    if (!video || stands()) return;
    slide.classList.add("playing");
    video.currentTime = 0;
    video.play().catch(() => end(slide)); // a browser that plays nothing shows the end
  }

  function end(slide) {
    slide.classList.remove("playing");
    slide.querySelector("video")?.pause();
  }

  function turn({ previousSlide, currentSlide }) {
    if (previousSlide) end(previousSlide);
    const back = previousSlide && currentSlide.compareDocumentPosition(previousSlide) & Node.DOCUMENT_POSITION_FOLLOWING;
    if (!back) play(currentSlide);
  }

  // reveal shows what is around the slide that one is at; here all slides fit, whichever that is
  function together() {
    const slides = reveal.querySelector(".slides"), rest = 0.94;
    slides.style.scale = slides.style.translate = "none";
    if (!Reveal.isOverview()) return;
    const around = () => {
      const all = [...slides.querySelectorAll("section:is(.card, .chapter)")].map((one) => one.getBoundingClientRect());
      const [left, top] = ["left", "top"].map((side) => Math.min(...all.map((one) => one[side])));
      const [right, bottom] = ["right", "bottom"].map((side) => Math.max(...all.map((one) => one[side])));
      return { x: (left + right) / 2, y: (top + bottom) / 2, w: right - left, h: bottom - top };
    };
    const before = around();
    slides.style.scale = Math.min(reveal.clientWidth * rest / before.w, reveal.clientHeight * rest / before.h);
    const now = around();
    slides.style.translate = `${reveal.clientWidth / 2 - now.x}px ${reveal.clientHeight / 2 - now.y}px`;
  }

  const reveal = document.querySelector(".reveal");
  Reveal.on("slidechanged", turn);
  for (const moment of ["overviewshown", "overviewhidden", "slidechanged"]) Reveal.on(moment, together);
  Reveal.on("resize", () => requestAnimationFrame(together)); // reveal says so before it has moved its slides
  calm.addEventListener("change", () => end(Reveal.getCurrentSlide()));
  reveal.querySelector(".slides").addEventListener("click", (event) => {
    if (!event.defaultPrevented && !event.target.closest("a") && !Reveal.isOverview() && !Reveal.isPrintView()) Reveal.next();
  });
  Reveal.initialize({
    ...SIZE, margin: 0, minScale: 0.1, maxScale: 4, center: false, hash: true, controls: false, slideNumber: "c/t", navigationMode: "linear",
    transition: "none", backgroundTransition: "none", autoPlayMedia: false, pdfSeparateFragments: false, plugins: [RevealNotes],
  }).then(() => {
    Reveal.addKeyBinding({ keyCode: 82, key: "R", description: "Play the chapter again" }, () => play(Reveal.getCurrentSlide()));
    turn({ currentSlide: Reveal.getCurrentSlide() });
    window.flashsteps = { reveal: Reveal };
  });
})();
